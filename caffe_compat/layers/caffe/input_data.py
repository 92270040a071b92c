"""Input, DummyData and MemoryData (input_layer.cpp, dummy_data_layer.cpp, memory_data_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.fillers import fill
from caffe_compat.layers.registry import register
from caffe_compat.layers.source import SourceLayer, as_numbers
from caffe_compat.proto.schema import FillerParameter


@register("Input")
class Input(SourceLayer):
    """Tops that the user feeds; one `shape` for all of them, or one each (input_layer.cpp)."""

    fed: ClassVar[bool] = True

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
        return tuple(self.values(index) for index in range(len(self.shapes)))

    def values(self, index: int) -> Tensor:
        """Those of a top in the next batch."""
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


@register("MemoryData")
class MemoryData(SourceLayer):
    """Arrays that the user sets, given out batch by batch and round again (memory_data_layer.cpp)."""

    remembers: ClassVar[tuple[str, ...]] = ("_arrays",)
    tops: ClassVar[Count] = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        fields = param.memory_data_param
        self.shape: Shape = (fields.batch_size, fields.channels, fields.height, fields.width)
        if 0 in self.shape:
            raise ShapeError(f"layer '{self.name}': memory_data_param is {self.shape}; all four must be above 0")
        self._arrays: tuple[Tensor, Tensor] | None = None
        self._cursor = 0

    @property
    def fed(self) -> bool:  # type: ignore[override]
        return self._arrays is None

    def set_arrays(self, data: Any, labels: Any) -> None:
        """Give out `data` (n, channels, height, width) and `labels` (n,) from now on; n in whole batches."""
        tops = self.param.top
        data, labels = as_numbers(data, tops[0]), as_numbers(labels, tops[1]).flatten()
        if tuple(data.shape[1:]) != self.shape[1:] or len(data) != len(labels) or len(data) % self.shape[0]:
            raise ShapeError(
                f"layer '{self.name}': data {tuple(data.shape)} with {len(labels)} labels; wanted "
                f"(n, {', '.join(map(str, self.shape[1:]))}) with n labels, n a multiple of batch_size {self.shape[0]}"
            )
        self._arrays, self._cursor = (data, labels), 0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [self.shape, self.shape[:1]]

    def next_batch(self) -> tuple[Tensor, ...]:
        if self._arrays is None:
            return super().next_batch()
        batch, batches = self.shape[0], len(self._arrays[0]) // self.shape[0]
        start = self._cursor % batches * batch
        self._cursor += 1
        return tuple(self._at_home(array[start : start + batch]) for array in self._arrays)

    @property
    def cursor(self) -> int:
        return self._cursor

    def seek(self, cursor: int) -> None:
        self._cursor = cursor


def _one_or_each(layer: Layer, values: list[Any], field: str) -> list[Any]:
    """One value for every top, from one for all or one each; ShapeError for another number."""
    tops = len(layer.param.top)
    if len(values) not in (1, tops):
        wanted = f"once, or {tops} times, one a top" if tops > 1 else "once"
        if field == "input_param.shape" and not values:  # as tools leave a net that strip it
            wanted += f"; give it with --input {layer.param.top[0]}=N,C,H,W (input_shapes in Python)"
        raise ShapeError(f"layer '{layer.name}': {field} is given {len(values)} times; wanted {wanted}")
    return values * tops if len(values) == 1 else values
