"""Clip (clip_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.kinks import clipped
from caffe_compat.layers.registry import register


@register("Clip")
class Clip(Elementwise):
    """min(max(x, min), max); the gradient passes where min <= x <= max, both ends included."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.clip_param
        for end in ("min", "max"):
            if not field.HasField(end):
                raise UnsupportedParameterError(f"layer '{self.name}': clip_param.{end} is missing; give both ends")
        self.min: float = field.min
        self.max: float = field.max

    def forward(self, *bottoms: Tensor) -> Tensor:
        return clipped(bottoms[0], self.min, self.max)
