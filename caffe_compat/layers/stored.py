"""Layers that bring stored data into the net: databases and HDF5 files."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from caffe_compat.data.batches import DatumBatches
from caffe_compat.data.databases import open_database
from caffe_compat.data.hdf5 import HDF5Batches, read_file_list
from caffe_compat.data.paths import find_source
from caffe_compat.data.prefetch import Batches, Prefetched
from caffe_compat.data.transform import read_transform
from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.registry import register
from caffe_compat.layers.source import SourceLayer

_log = logging.getLogger(__name__)
_of_parents: list[Batches] = []  # open sources that a forked child inherits: kept, for closing them is the parent's


class StoredLayer(SourceLayer):
    """A source whose batches lie in files: opened when first needed, and again after a copy or a fork."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self._cursor = 0
        self._batches: Batches | None = None
        self._process = 0
        self.seed = 0
        self.rank, self.ranks = 0, 1

    @abstractmethod
    def open(self) -> Batches:
        """The batches, from the files that `param` names."""

    def takes_chance(self) -> bool:
        """Whether what this layer gives depends on `seed`."""
        transform = self.param.transform_param
        return transform.mirror or (self.context.phase == "TRAIN" and transform.crop_size > 0)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        """Draw the seed from torch's generator where one is needed, as Caffe's data layers do from Caffe's."""
        if self.takes_chance():
            self.seed = int(torch.randint(0, 2**31, ()).item())

    def share(self, rank: int, ranks: int) -> None:
        """Give out only every ranks-th record, from record `rank` on: this process's part of a distributed run."""
        self.close()
        self.rank, self.ranks = rank, ranks

    def find(self, name: str) -> Path:
        """The file or folder `name`, from the working directory or else beside the net; DataError names the layer."""
        return find_source(name, self.context.folder, named_by=f"layer '{self.name}'")

    def positive(self, field: str, value: int) -> int:
        """`value` if it is above 0; DataError names the field."""
        if value <= 0:
            raise DataError(f"layer '{self.name}': {field} is {value}; set it above 0")
        return value

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = self.batches.shapes
        if len(shapes) < len(self.param.top):
            raise ShapeError(f"layer '{self.name}': {len(self.param.top)} tops, but the source has {len(shapes)}")
        return shapes[: len(self.param.top)]

    def next_batch(self) -> tuple[Tensor, ...]:
        arrays = self.batches.read(self._cursor)
        self._cursor += 1
        return tuple(self._at_home(torch.from_numpy(array)) for array in arrays[: len(self.param.top)])

    def prefetched(self, batches: Batches, depth: int) -> Batches:
        """`batches`, made ahead by a thread."""
        _log.info("layer '%s': up to %d batches are made ahead", self.name, depth)
        return Prefetched(batches, max(depth, 1))

    @property
    def batches(self) -> Batches:
        """The open source, opened on first use."""
        if self._batches is not None and self._process != os.getpid():
            _of_parents.append(self._batches)
            self._batches = None
        if self._batches is None:
            self._batches, self._process = self.open(), os.getpid()
        return self._batches

    @property
    def cursor(self) -> int:
        return self._cursor

    def seek(self, cursor: int) -> None:
        self._cursor = cursor

    def close(self) -> None:
        if self._batches is not None and self._process == os.getpid():
            self._batches.close()
        self._batches = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_batches": None}


@register("Data")
class Data(StoredLayer):
    """Images and labels of an LMDB or LevelDB of Datums, in key order and round again (data_layer.cpp)."""

    tops: ClassVar[Count] = Count(1, 2)

    def open(self) -> Batches:
        fields = self.param.data_param
        batch_size = self.positive("data_param.batch_size", fields.batch_size)
        backend = fields.DESCRIPTOR.enum_types_by_name["DB"].values_by_number[fields.backend].name
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        database = open_database(self.find(fields.source), backend)
        batches = DatumBatches(database, batch_size, transform, self.seed, self.rank, self.ranks)
        return self.prefetched(batches, fields.prefetch)


@register("HDF5Data")
class HDF5Data(StoredLayer):
    """Datasets of HDF5 files that a list file names; every top is named after its dataset (hdf5_data_layer.cpp)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        if param.HasField("transform_param"):
            raise DataError(f"layer '{self.name}': HDF5Data takes no transform_param; store transformed values instead")

    def takes_chance(self) -> bool:
        return bool(self.param.hdf5_data_param.shuffle)

    def open(self) -> Batches:
        fields = self.param.hdf5_data_param
        files = read_file_list(self.find(fields.source), self.context.folder)
        batch_size = self.positive("hdf5_data_param.batch_size", fields.batch_size)
        return HDF5Batches(files, list(self.param.top), batch_size, fields.shuffle, self.seed, self.rank, self.ranks)
