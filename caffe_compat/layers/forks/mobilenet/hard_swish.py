"""HardSwish and HSwish of MobileNet version 3 (Howard et al. 2019), as its forks have it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.base import Elementwise
from caffe_compat.layers.registry import register


@register("HardSwish")
@register("HSwish")
class HardSwish(Elementwise):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, MobileNet version 3, in its forks)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.hardswish(bottoms[0])
