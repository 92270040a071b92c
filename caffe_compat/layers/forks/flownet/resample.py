"""Resample and Downsample of FlowNet 2.0 (resample_layer.cu, downsample_layer.cu of lmb-freiburg/flownet2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.registry import register


@register("Resample")
@register("Downsample")
class Resample(Layer):
    """Another height and width: those of resample_param or downsample_param, or of bottom 1.

    Built for its shapes; where the size stays the values do too. Other sizes do not run: the fork's own filters differ
    from every other.
    """

    bottoms = Count(1, 2)

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        return f"type {param.type} runs only where the size stays: the fork's own filters are not implemented"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        field, below = self.param.resample_param, self.param.downsample_param
        size: Shape = (below.top_height, below.top_width)
        if self.param.type == "Resample":
            size = (field.height, field.width)
        size = bottom_shapes[1][2:] if len(bottom_shapes) > 1 else size
        if len(shape) != 4 or min(size) < 1:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} cannot become {tuple(size)}")
        return [(*shape[:2], *size)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0] != tuple(bottoms[0].shape):
            raise UnsupportedParameterError(f"layer '{self.name}': {self.shortcoming(self.param)}")
        return bottoms[0]
