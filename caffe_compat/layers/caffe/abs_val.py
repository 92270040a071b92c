"""AbsVal (absval_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from torch import Tensor

from caffe_compat.layers.base import Elementwise
from caffe_compat.layers.kinks import absolute
from caffe_compat.layers.registry import register


@register("AbsVal")
class AbsVal(Elementwise):
    """|x|; the gradient at 0 is 0."""

    works_in_place = False

    def forward(self, *bottoms: Tensor) -> Tensor:
        return absolute(bottoms[0])
