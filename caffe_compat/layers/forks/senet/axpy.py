"""Axpy of SENet (axpy_layer.cpp of hujie-frank/SENet)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.registry import register


@register("Axpy")
class Axpy(Layer):
    """a * x + y with one a for each item and channel (axpy_layer.cpp of hujie-frank/SENet).

    Bottoms: a (N, C) or (N, C, 1, 1), x and y (N, C, ...).
    """

    bottoms = exactly(3)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        a, x, y = bottom_shapes
        if x != y or a[:2] != x[:2] or math.prod(a[2:]) != 1:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {a}, {x} and {y}, wanted (N, C, 1, 1), (N, C, ...), (N, C, "
                "...)"
            )
        return [x]

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, x, y = bottoms
        return torch.addcmul(y, a.reshape(*x.shape[:2], *(1,) * (x.dim() - 2)), x)
