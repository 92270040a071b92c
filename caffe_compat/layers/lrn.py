"""LRN, local response normalization (lrn_layer.cpp)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.registry import register


@register("LRN")
class LRN(Layer):
    """x (k + alpha / n sum x^2)^-beta, the sum over a window of local_size around each value.

    ACROSS_CHANNELS: over n = local_size channels. WITHIN_CHANNEL: over n = local_size^2 neighbours of the plane, cut
    at size + pad as in AVE pooling; there Caffe takes 1 for k, whatever the prototxt says.
    """

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.lrn_param
        if param.local_size % 2 == 0:
            raise UnsupportedParameterError(f"layer '{self.name}': local_size is {param.local_size}; it must be odd")
        self.size: int = param.local_size
        self.alpha: float = param.alpha
        self.beta: float = param.beta
        self.k: float = param.k
        self.within: bool = param.norm_region == param.WITHIN_CHANNEL

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) != 4:
            raise ShapeError(
                f"layer '{self.name}': bottom {bottom_shapes[0]} must have 4 axes (batch, channels, height, width)"
            )
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        k = 1.0 if self.within else self.k
        top: Tensor = _Normalize.apply(  # type: ignore[no-untyped-call]
            bottoms[0], self.within, self.size, self.alpha, self.beta, k
        )
        return top


class _Normalize(torch.autograd.Function):
    """y = x s^-beta with s = k + alpha mean(x^2), and dx = dy s^-beta - 2 alpha beta x mean(dy x s^-beta / s)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, within: bool, size: int, alpha: float, beta: float, k: float) -> Tensor:
        mean = _window_mean(x * x, within, size)
        scale = mean.mul_(alpha).add_(k)
        ctx.save_for_backward(x, scale)
        ctx.settings = (within, size, alpha, beta)
        return scale.pow(-beta).mul_(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        (diff,) = gradients
        within, size, alpha, beta = ctx.settings
        direct = scale.pow(-beta).mul_(diff)
        ratio = (direct * x).div_(scale)
        return direct.addcmul_(x, _window_mean(ratio, within, size), value=-2 * alpha * beta), *[None] * 5


def _window_mean(values: Tensor, within: bool, size: int) -> Tensor:
    """Mean over the window around each value, zeros counted where it leaves the channels or the plane."""
    half = (size - 1) // 2
    if within:
        return F.avg_pool2d(values, size, 1, half)
    total = values.clone()
    for shift in range(1, min(half, values.shape[1] - 1) + 1):
        total[:, shift:] += values[:, :-shift]
        total[:, :-shift] += values[:, shift:]
    return total.div_(size)
