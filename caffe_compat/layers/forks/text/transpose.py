"""Transpose (transpose_layer.cpp of senlinuc/caffe_ocr and tianzhi0549/CTPN)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("Transpose")
class Transpose(Layer):
    """The axes of the bottom in the order `transpose_param.dim`, which names every one (transpose_layer.cpp)."""

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.order: tuple[int, ...] = tuple(param.transpose_param.dim)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if sorted(self.order) != list(range(len(shape))):
            raise ShapeError(
                f"layer '{self.name}': transpose_param.dim {list(self.order)} must name each axis of a bottom of shape "
                f"{shape} once"
            )
        return [tuple(shape[axis] for axis in self.order)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0].permute(self.order)
