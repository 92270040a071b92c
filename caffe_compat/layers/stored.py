"""What the layers have in common that bring stored data into the net."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.data.labels import StoredLabels
from caffe_compat.data.prefetch import Batches, Prefetched
from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Context, Shape
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
            self.seed = int(torch.randint(0, 2**31, (), device="cpu").item())

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
        if beside is None or os.path.exists(folder + name) or not os.path.exists(beside / (folder + name)):
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

    def first_batch(self) -> tuple[np.ndarray, ...]:
        """The first batch, without the tops that are not named, read on its own; of a large file a part of it."""
        batches = self.batches.source if isinstance(self.batches, Prefetched) else self.batches
        peek = getattr(batches, "peek", None)
        return (batches.read(0) if peek is None else peek())[: len(self.param.top)]

    def stored_labels(self) -> StoredLabels | None:
        """What the first records hold for small tops, see `StoredLabels`; None where the source cannot tell."""
        batches = self.batches.source if isinstance(self.batches, Prefetched) else self.batches
        look = getattr(batches, "labels", None)
        return None if look is None else look()

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
