"""Silence (silence_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from torch import Tensor

from caffe_compat.layers.base import Count, Layer, Shape, exactly
from caffe_compat.layers.registry import register


@register("Silence")
class Silence(Layer):
    """Takes any bottoms and gives nothing, so that they are no outputs of the net."""

    gradient = "none"
    bottoms = Count(1)
    tops = exactly(0)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return []

    def forward(self, *bottoms: Tensor) -> tuple[()]:
        return ()
