"""Split (split_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.handed import aside, handed_of
from caffe_compat.layers.registry import register


@register("Split")
class Split(Layer):
    """The bottom at every top; the gradient is the sum of theirs.

    asides: the tops whose gradients go to the maker of the bottom where it takes them; see layers/handed.py.
    """

    works_in_place = False
    tops = Count(1)
    asides: frozenset[int] = frozenset()

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0]] * len(self.param.top)

    def forward(self, *bottoms: Tensor) -> Any:
        number = len(self.param.top)
        if self.asides and bottoms[0].requires_grad and (handed := handed_of(bottoms[0])) is not None:
            return tuple(aside(bottoms[0], handed) if top in self.asides else bottoms[0] for top in range(number))
        return bottoms * number if number > 1 else bottoms[0]
