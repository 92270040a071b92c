"""Layers without bottoms: they bring stored, made-up or given values into the net."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from caffe_compat.data.hdf5 import HDF5Batches, read_file_list
from caffe_compat.data.paths import find_file
from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.fillers import fill
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter


class Batches(Protocol):
    """Stored batches, any of which can be read by its number."""

    @property
    def shapes(self) -> list[Shape]: ...

    def read(self, index: int) -> tuple[np.ndarray, ...]: ...

    def close(self) -> None: ...


class SourceLayer(Layer):
    """A layer that makes its own tops.

    The graph feeds it the tops (from `next_batch`, or from the user) and `forward` passes them on, as floating point
    numbers on the device of the net. `fed` is True for one whose values only the user can give.
    """

    bottoms: ClassVar[Count] = exactly(0)
    tops: ClassVar[Count] = Count(1)
    fed: bool = False
    _home: Tensor

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.register_buffer("_home", torch.empty(0), persistent=False)  # follows .to() and .double()

    def forward(self, *tops: Any) -> Any:
        """The given tops as float32 (float64 in a float64 net); integers, labels too, become floats as in Caffe."""
        passed = tuple(self._at_home(top) for top in tops)
        return passed[0] if len(passed) == 1 else passed

    def next_batch(self) -> tuple[Tensor, ...]:
        """The next value of every top; DataError where only the user can feed the layer."""
        raise DataError(
            f"layer '{self.name}': a layer of type {self.param.type} has no values of its own; "
            f"give them by name: {', '.join(f'{top}=...' for top in self.param.top)}"
        )

    @property
    def cursor(self) -> int:
        """The number of the batch that `next_batch` gives next, counted from 0."""
        return 0

    def seek(self, cursor: int) -> None:
        """Make `next_batch` give batch number `cursor` next."""

    def close(self) -> None:
        """Close files and stop threads; the next `next_batch` opens them again where they were."""

    def _at_home(self, value: Any) -> Tensor:
        dtype = torch.float64 if self._home.dtype == torch.float64 else torch.float32
        return torch.as_tensor(value).to(device=self._home.device, dtype=dtype)


class StoredLayer(SourceLayer):
    """A source whose batches lie in files: opened when first needed, and again after a copy or a fork."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self._cursor = 0
        self._batches: Batches | None = None
        self._process = 0
        self.seed = 0

    @abstractmethod
    def open(self) -> Batches:
        """The batches, from the files that `param` names."""

    def setup(self, bottom_shapes: list[Shape]) -> None:
        """Draw the seed of this layer from torch's generator, as Caffe's prefetching layers do from Caffe's."""
        self.seed = int(torch.randint(0, 2**31, ()).item())

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = self.batches.shapes
        if len(shapes) < len(self.param.top):
            raise ShapeError(f"layer '{self.name}': {len(self.param.top)} tops, but the source has {len(shapes)}")
        return shapes[: len(self.param.top)]

    def next_batch(self) -> tuple[Tensor, ...]:
        arrays = self.batches.read(self._cursor)
        self._cursor += 1
        return tuple(self._at_home(torch.from_numpy(array)) for array in arrays[: len(self.param.top)])

    @property
    def batches(self) -> Batches:
        """The open source, opened on first use."""
        if self._batches is None or self._process != os.getpid():
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


@register("Input")
class Input(SourceLayer):
    """Tops that the user feeds; one `shape` for all of them, or one each (input_layer.cpp)."""

    fed = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = [tuple(shape.dim) for shape in self.param.input_param.shape]
        return _one_or_each(self, shapes, "input_param.shape")


@register("DummyData")
class DummyData(SourceLayer):
    """Tops filled by fillers; a constant one is filled once, any other anew for every batch (dummy_data_layer.cpp)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        fields = param.dummy_data_param
        if fields.shape and (fields.num or fields.channels or fields.height or fields.width):
            raise ShapeError(f"layer '{self.name}': dummy_data_param has both shape and num; keep shape")
        self.shapes = self._declared_shapes(fields)
        fillers = list(fields.data_filler) or [FillerParameter(type="constant")]
        self.fillers: list[Any] = _one_or_each(self, fillers, "dummy_data_param.data_filler")
        self._constants: dict[int, Tensor] = {}

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return list(self.shapes)

    def next_batch(self) -> tuple[Tensor, ...]:
        return tuple(self._top(index) for index in range(len(self.shapes)))

    def _top(self, index: int) -> Tensor:
        filler = self.fillers[index]
        if filler.type == "constant":
            return self._at_home(filler.value).expand(self.shapes[index])
        return self._at_home(fill(torch.empty(self.shapes[index]), filler))

    def _declared_shapes(self, fields: Any) -> list[Shape]:
        if fields.shape:
            return _one_or_each(self, [tuple(shape.dim) for shape in fields.shape], "dummy_data_param.shape")
        axes = [
            _one_or_each(self, list(getattr(fields, name)), f"dummy_data_param.{name}")
            for name in ("num", "channels", "height", "width")
        ]
        return [tuple(int(size) for size in sizes) for sizes in zip(*axes, strict=True)]


@register("HDF5Data")
class HDF5Data(StoredLayer):
    """Datasets of HDF5 files that a list file names; every top is named after its dataset (hdf5_data_layer.cpp)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        if param.HasField("transform_param"):
            raise DataError(f"layer '{self.name}': HDF5Data takes no transform_param; store transformed values instead")

    def open(self) -> Batches:
        fields = self.param.hdf5_data_param
        folder = self.context.folder
        source = find_file(fields.source, folder, named_by=f"layer '{self.name}'")
        return HDF5Batches(
            read_file_list(source, folder), list(self.param.top), fields.batch_size, fields.shuffle, self.seed
        )


def _one_or_each(layer: Layer, values: list[Any], field: str) -> list[Any]:
    """One value for every top, from one for all or one each; ShapeError for another number."""
    tops = len(layer.param.top)
    if len(values) not in (1, tops):
        raise ShapeError(f"layer '{layer.name}': {field} is given {len(values)} times; wanted 1, or {tops} as tops")
    return values * tops if len(values) == 1 else values
