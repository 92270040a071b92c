"""Gather and Scatter (gather_layer.cpp, scatter_layer.cpp of hszhao/PSPNet, after yjxiong/caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.registry import register


@register("Gather")
@register("Scatter")
class Gather(Layer):
    """Each top is its bottom: yjxiong/caffe gathers batches of all devices, and scatters them; here there is one."""

    bottoms = Count(1)
    tops = Count(1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return bottom_shapes

    def forward(self, *bottoms: Tensor) -> Any:
        return bottoms[0] if len(bottoms) == 1 else bottoms
