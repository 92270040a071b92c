"""NegReLU of FlowNet 2.0 (neg_relu_layer.cpp of lmb-freiburg/flownet2)."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.layers.base import Elementwise
from caffe_compat.layers.registry import register


@register("NegReLU")
class NegReLU(Elementwise):
    """min(x, 0) + negative_slope * max(x, 0)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,), slope = bottoms, self.param.relu_param.negative_slope
        return torch.where(x < 0, x, slope * x)
