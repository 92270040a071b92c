"""Permute of SSD (permute_layer.cpp of weiliu89/caffe, branch ssd)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("Permute")
class Permute(Layer):
    """The axes of the bottom in the order `permute_param.order`, those not named behind (permute_layer.cpp of SSD)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.order: tuple[int, ...] = tuple(param.permute_param.order)
        if len(set(self.order)) != len(self.order):
            raise UnsupportedParameterError(
                f"layer '{self.name}': permute_param.order {list(self.order)} has duplicates"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if any(axis >= len(shape) for axis in self.order):
            raise ShapeError(
                f"layer '{self.name}': permute_param.order {list(self.order)} names axes that a bottom of shape "
                f"{shape} does not have"
            )
        return [tuple(shape[axis] for axis in self._axes(len(shape)))]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0].permute(self._axes(bottoms[0].dim()))

    def _axes(self, number: int) -> tuple[int, ...]:
        return (*self.order, *(axis for axis in range(number) if axis not in self.order))
