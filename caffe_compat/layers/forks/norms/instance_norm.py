"""InstanceNorm (instance_norm_layer.cpp of GuoShi28/Caffe-Instance-Normalization-and-Guided-Instance-Normalization)."""

from __future__ import annotations

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Elementwise, Shape
from caffe_compat.layers.registry import register


@register("InstanceNorm")
class InstanceNorm(Elementwise):
    """(x - mean) / sqrt(var + 1e-4) over every plane of (N, C, H, W) by itself, in TRAIN and TEST.

    It has no settings and no blobs: a Scale layer behind it has scale and shift. Engines that read an
    InstanceNorm with two blobs of its own read another layer, of which no fork of Caffe is known.
    """

    epsilon = 1e-4

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {bottom_shapes[0]} is not (N, C, H, W)")
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        centred = x - x.mean((2, 3), keepdim=True)
        return centred / (centred.square().mean((2, 3), keepdim=True) + self.epsilon).sqrt()
