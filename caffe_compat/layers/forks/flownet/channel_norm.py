"""ChannelNorm of FlowNet 2.0 (channel_norm_layer.cpp of lmb-freiburg/flownet2)."""

from __future__ import annotations

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.kinks import length
from caffe_compat.layers.registry import register

_EPSILON = 1e-9


@register("ChannelNorm")
class ChannelNorm(Layer):
    """The length of the vector of channels at each place: (N, 1, H, W); a vector of zeros has gradient 0."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} is not (N, C, H, W)")
        return [(shape[0], 1, *shape[2:])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return length(bottoms[0], 1, _EPSILON)
