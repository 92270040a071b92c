"""Layers that bring stored data into the net: databases, HDF5 files, image files."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from caffe_compat.data.batches import DatumBatches, WholeSet
from caffe_compat.data.databases import open_database
from caffe_compat.data.hdf5 import HDF5Batches, read_file_list
from caffe_compat.data.image_lists import ImageBatches, Loading, read_image_list
from caffe_compat.data.image_windows import Sampling, WindowBatches, read_window_file
from caffe_compat.data.prefetch import Batches, Prefetched
from caffe_compat.data.transform import read_transform
from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Context, Count, Shape, exactly
from caffe_compat.layers.registry import register
from caffe_compat.layers.resident import ResidentSet
from caffe_compat.layers.source import SourceLayer
from caffe_compat.proto.files import find_file

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
        return find_file(name, self.context.folder, named_by=f"layer '{self.name}'")

    def root(self, folder: str, name: str) -> str:
        """What goes before the names of image files, `name` the first of them: `folder`, as it is or beside the net."""
        beside = self.context.folder
        if beside is None or Path(folder + name).exists() or not (beside / (folder + name)).exists():
            return folder
        return f"{beside}/{folder}"

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
    _resident: ResidentSet | bool | None = None  # False: the set cannot be; None: not tried

    def next_batch(self) -> tuple[Tensor, ...]:
        """On a GPU, from the set that it keeps there, where the set is small enough."""
        resident = self.resident() if self._home.is_cuda else None
        if resident is None:
            return super().next_batch()
        self._cursor += 1
        return tuple(self._at_home(top) for top in resident.batch(self._cursor - 1)[: len(self.param.top)])

    def resident(self) -> ResidentSet | None:
        """The whole set on the device of the net; None where `whole_set` gives none."""
        if self._resident is None:
            whole = self.whole_set()
            self._resident = whole is not None and ResidentSet(whole, self._home.device)
            if whole is not None:
                _log.info("layer '%s': the %d images stay on the device", self.name, len(whole.pixels))
        return self._resident if isinstance(self._resident, ResidentSet) else None

    def close(self) -> None:
        super().close()
        self._resident = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_resident": None}

    def open(self) -> Batches:
        fields = self.param.data_param
        batch_size = self.positive("data_param.batch_size", fields.batch_size)
        backend = fields.DESCRIPTOR.enum_types_by_name["DB"].values_by_number[fields.backend].name
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        database = open_database(self.find(fields.source), backend)
        batches = DatumBatches(database, batch_size, transform, self.seed, self.rank, self.ranks)
        return self.prefetched(batches, fields.prefetch)

    def whole_set(self) -> WholeSet | None:
        """The whole set in memory, where it is small enough and of one size, for a device that keeps it."""
        batches = self.batches
        made = batches.source if isinstance(batches, Prefetched) else batches
        return made.whole_set() if isinstance(made, DatumBatches) else None


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


@register("ImageData")
class ImageData(StoredLayer):
    """Images of the files that a list names, and the labels beside them (image_data_layer.cpp)."""

    tops: ClassVar[Count] = exactly(2)

    def takes_chance(self) -> bool:
        fields = self.param.image_data_param
        return super().takes_chance() or fields.shuffle or fields.rand_skip > 0

    def open(self) -> Batches:
        fields = self.param.image_data_param
        if (fields.new_height > 0) != (fields.new_width > 0):
            raise DataError(f"layer '{self.name}': image_data_param needs both new_height and new_width, or neither")
        entries = read_image_list(self.find(fields.source))
        root = self.root(fields.root_folder, entries[0][0])
        load = Loading(root, fields.new_height, fields.new_width, fields.is_color)
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        batch_size = self.positive("image_data_param.batch_size", fields.batch_size)
        share = (self.seed, self.rank, self.ranks)
        batches = ImageBatches(entries, load, batch_size, transform, fields.shuffle, fields.rand_skip, *share)
        return self.prefetched(batches, self.param.data_param.prefetch)


@register("WindowData")
class WindowData(StoredLayer):
    """Windows of images, foreground and background in fixed parts, warped to one size (window_data_layer.cpp)."""

    tops: ClassVar[Count] = exactly(2)

    def takes_chance(self) -> bool:
        return True

    def open(self) -> Batches:
        fields = self.param.window_data_param
        if fields.crop_mode not in ("warp", "square"):
            raise DataError(f"layer '{self.name}': crop_mode is '{fields.crop_mode}'; allowed: warp, square")
        windows = read_window_file(self.find(fields.source))
        sampling = Sampling(
            self.positive("window_data_param.batch_size", fields.batch_size),
            fields.fg_threshold,
            fields.bg_threshold,
            fields.fg_fraction,
            fields.context_pad,
            fields.crop_mode == "square",
        )
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        if transform.scale != 1:
            _log.warning("layer '%s': WindowData ignores transform_param.scale, as in Caffe", self.name)
        transform = replace(transform, scale=fields.scale)
        root = self.root(fields.root_folder, windows[0].image)
        seed = self.seed * self.ranks + self.rank
        batches = WindowBatches(windows, root, sampling, transform, seed, fields.cache_images)
        return self.prefetched(batches, self.param.data_param.prefetch)
