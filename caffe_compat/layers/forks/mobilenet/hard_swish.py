"""HardSwish (hard_swish_layer.cpp of Zeitzmz/micronet-caffe) and HSwish (hswish_layer.cpp of aovoc/caffe)."""

from __future__ import annotations

from torch import Tensor

from caffe_compat.layers.base import Elementwise
from caffe_compat.layers.kinks import hard_swish
from caffe_compat.layers.registry import register


@register("HardSwish")
class HardSwish(Elementwise):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019); the gradient at -3 is -0.5, at 3 it is 1.5."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return hard_swish(bottoms[0], closed=True)


@register("HSwish")
class HSwish(Elementwise):
    """As HardSwish, but the gradient at -3 is 0, at 3 it is 1."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return hard_swish(bottoms[0], closed=False)
