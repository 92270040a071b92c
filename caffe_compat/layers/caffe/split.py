"""Split (split_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.registry import register


@register("Split")
class Split(Layer):
    """The bottom at every top; the gradient is the sum of theirs."""

    works_in_place = False
    tops = Count(1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0]] * len(self.param.top)

    def forward(self, *bottoms: Tensor) -> Any:
        number = len(self.param.top)
        return bottoms * number if number > 1 else bottoms[0]
