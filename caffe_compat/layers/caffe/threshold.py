"""Threshold (threshold_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.registry import register


@register("Threshold")
class Threshold(Elementwise):
    """1 where x > threshold, else 0; no gradient."""

    gradient = "none"

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.threshold: float = param.threshold_param.threshold

    def forward(self, *bottoms: Tensor) -> Tensor:
        return (bottoms[0] > self.threshold).to(bottoms[0].dtype)
