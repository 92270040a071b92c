"""ReLU6 or Relu6 (relu6_layer.cpp of eric612/MobileNet-YOLO), and Mish of forks with YOLO version 4."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.function import Function
from caffe_compat.layers.registry import register


class _Rectified(Function):
    """min(max(x, 0) + slope * min(x, 0), 6), whose gradient looks at x alone: 0 from 6 on, slope up to 0, else 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (functional.leaky_relu(x, slope) if slope else functional.relu(x)).clamp(max=6)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, gradients[0], ctx.slope * gradients[0]) * (x < 6), None


@register("Relu6")
@register("ReLU6")
class ReLU6(Elementwise):
    """min(max(x, 0) + negative_slope * min(x, 0), 6); the gradient at 0 is negative_slope, at 6 it is 0.

    Relu6 is TensorFlow's spelling, in files of converters; no fork is known that registers it.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.negative_slope: float = param.relu6_param.negative_slope

    def forward(self, *bottoms: Tensor) -> Tensor:
        top: Tensor = _Rectified.apply(bottoms[0], self.negative_slope)  # type: ignore[no-untyped-call]
        return top


@register("Mish")
class Mish(Elementwise):
    """x * tanh(log(1 + exp(x))) (Misra 2019; in forks with YOLO version 4)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.mish(bottoms[0])
