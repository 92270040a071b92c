"""GroupNorm (Wu and He, ECCV 2018) with scale and shift, as in HAT_Net.py of yun-liu/TransCNN at 4b2e7bf."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter

ONE, ZERO = FillerParameter(type="constant", value=1), FillerParameter(type="constant", value=0)


@register("GroupNorm")
class GroupNorm(Layer):
    """(x - mean) / sqrt(var + eps) * gamma + beta, mean and var over the channels of a group and all places.

    blobs: gamma and beta, (channels,).
    """

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.group_norm_param
        self.groups, self.eps = int(param.num_groups), float(param.eps)
        self.channels = bottom_shapes[0][1] if len(bottom_shapes[0]) > 1 else 0
        if self.groups < 1 or self.channels < 1 or self.channels % self.groups:
            raise UnsupportedParameterError(
                f"layer '{self.name}': num_groups is {self.groups}; wanted a divisor of the {self.channels} channels"
            )
        self.add_blob((self.channels,), ONE)
        self.add_blob((self.channels,), ZERO)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.nn.functional.group_norm(bottoms[0], self.groups, self.blob(0), self.blob(1), self.eps)
