"""ReLU6 (relu6_layer.cpp of eric612/MobileNet-YOLO), and Mish of forks with YOLO version 4."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.registry import register


@register("ReLU6")
class ReLU6(Elementwise):
    """min(max(x, 0) + negative_slope * min(x, 0), 6) (relu6_layer.cpp of MobileNet-YOLO); the gradient at 6 is 0."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.negative_slope: float = param.relu6_param.negative_slope

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.negative_slope == 0:
            return functional.relu6(bottoms[0])
        top = functional.leaky_relu(bottoms[0], self.negative_slope)
        return torch.where(top < 6, top, 6.0)


@register("Mish")
class Mish(Elementwise):
    """x * tanh(log(1 + exp(x))) (Misra 2019; in forks with YOLO version 4)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.mish(bottoms[0])
