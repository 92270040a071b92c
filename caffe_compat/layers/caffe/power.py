"""Power (power_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.registry import register


@register("Power")
class Power(Elementwise):
    """(shift + scale * x) ** power.

    With power or scale 0 the top is a constant and the gradient 0. Where shift + scale * x is exactly 0 Caffe computes
    the gradient as 0 / 0; here it is the derivative.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.power_param
        self.power: float = field.power
        self.scale: float = field.scale
        self.shift: float = field.shift

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        if self.power * self.scale == 0:
            return torch.full_like(x, 1.0 if self.power == 0 else _real_power(self.shift, self.power))
        if self.scale != 1:
            x = x * self.scale
        if self.shift != 0:
            x = x + self.shift
        return x if self.power == 1 else x.pow(self.power)


def _real_power(base: float, power: float) -> float:
    """base ** power as C computes it: infinite for 0 to a negative power, NaN for a root of a negative number."""
    return float(torch.tensor(base, dtype=torch.float64).pow(power))
