"""Softmax (softmax_layer.cpp)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.base import Context, Elementwise, Shape
from caffe_compat.layers.registry import register


@register("Softmax")
class Softmax(Elementwise):
    """exp(x) / sum(exp(x)) over softmax_param.axis (1 by default)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis: int = param.softmax_param.axis

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.canonical_axis(self.axis, bottom_shapes[0], "softmax_param.axis")
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.softmax(bottoms[0], self.axis)


def softmax_anew(probability: Tensor, shadow: Tensor, axis: int) -> Tensor:
    """`probability` as the softmax of scores that only their `function.shadow` is left of."""
    parts = probability * shadow.exp()
    return parts / parts.sum(axis, keepdim=True)
