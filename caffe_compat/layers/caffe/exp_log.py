"""Exp and Log (exp_layer.cpp, log_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.registry import register


@register("Exp")
class Exp(Elementwise):
    """base ** (shift + scale * x); base -1 stands for e."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.exp_param
        logarithm = log_of_base(field.base, self.name, "exp_param.base")
        self.inner_scale = logarithm * field.scale
        self.outer_scale = math.exp(logarithm * field.shift)

    def forward(self, *bottoms: Tensor) -> Tensor:
        x = bottoms[0] if self.inner_scale == 1 else bottoms[0] * self.inner_scale
        return x.exp() if self.outer_scale == 1 else x.exp() * self.outer_scale


@register("Log")
class Log(Elementwise):
    """The logarithm of shift + scale * x to `base`; base -1 stands for e."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.log_param
        logarithm = log_of_base(field.base, self.name, "log_param.base")
        if logarithm == 0:
            raise UnsupportedParameterError(f"layer '{self.name}': log_param.base is 1; a logarithm needs another base")
        self.base_scale = 1 / logarithm
        self.scale: float = field.scale
        self.shift: float = field.shift

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        if self.scale != 1:
            x = x * self.scale
        if self.shift != 0:
            x = x + self.shift
        return x.log() if self.base_scale == 1 else x.log() * self.base_scale


def log_of_base(base: float, layer: str, field: str) -> float:
    """The natural logarithm of `base`, where -1 stands for e; UnsupportedParameterError for any other base <= 0."""
    if base == -1:
        return 1.0
    if base <= 0:
        raise UnsupportedParameterError(f"layer '{layer}': {field} is {base:g}; it must be positive, or -1 for e")
    return math.log(base)
