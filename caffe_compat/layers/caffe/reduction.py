"""Reduction (reduction_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.kinks import absolute
from caffe_compat.layers.registry import register

_REDUCE: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "SUM": lambda x, axes: x.sum(axes),
    "ASUM": lambda x, axes: absolute(x).sum(axes),
    "SUMSQ": lambda x, axes: x.square().sum(axes),
    "MEAN": lambda x, axes: x.mean(axes),
}


@register("Reduction")
class Reduction(Layer):
    """coeff times the SUM, ASUM (of absolute values), SUMSQ (of squares) or MEAN over `axis` and all axes behind it."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.reduction_param
        self.reduce = _REDUCE[enum_name(field, "operation")]
        self.axis: int = field.axis
        self.coeff: float = field.coeff

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0][: self.canonical_axis(self.axis, bottom_shapes[0])]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        top = self.reduce(x, tuple(range(self.axis % x.dim(), x.dim())))
        return top if self.coeff == 1 else top * self.coeff
