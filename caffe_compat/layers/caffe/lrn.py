"""LRN, local response normalization (lrn_layer.cpp)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.lrn_loops import derivative, normalized, normalized_by_loop
from caffe_compat.layers.layout import channels_last
from caffe_compat.layers.looped import is_transformed
from caffe_compat.layers.registry import register


@register("LRN")
class LRN(Layer):
    """x (k + alpha / n sum x^2)^-beta, the sum over a window of local_size around each value.

    ACROSS_CHANNELS: over n = local_size channels. WITHIN_CHANNEL: over n = local_size^2 neighbours of the plane, where
    Caffe takes 1 for k, whatever the prototxt says. What a window has beyond the edge counts as zeros.
    """

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.lrn_param
        if param.local_size % 2 == 0:
            raise UnsupportedParameterError(f"layer '{self.name}': local_size is {param.local_size}; it must be odd")
        within = param.norm_region == param.WITHIN_CHANNEL
        self.rule = Rule(within, param.local_size, param.alpha, param.beta, 1.0 if within else param.k)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) != 4:
            raise ShapeError(
                f"layer '{self.name}': bottom {bottom_shapes[0]} must have 4 axes (batch, channels, height, width)"
            )
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        bottom = channels_last(bottoms[0])
        looped = normalized_by_loop(bottom, self.rule)
        if looped is not None:
            return looped
        if is_transformed():
            return normalized(bottom, self.rule)
        is_trained = torch.is_grad_enabled() and bottom.requires_grad
        if bottom.device.type == "cpu" and not (self.rule.within or torch.compiler.is_compiling()):
            if not is_trained:
                return _in_parts(bottom, self.rule)
            if bottom.numel() >= _LARGE:
                parts: Tensor = _InParts.apply(bottom, self.rule)  # type: ignore[no-untyped-call]
                return parts
        top: Tensor = _Normalize.apply(bottom, self.rule)  # type: ignore[no-untyped-call]
        return top


@dataclass(frozen=True)
class Rule:
    """The fields of an LRN layer; `size` is local_size."""

    within: bool
    size: int
    alpha: float
    beta: float
    k: float


class _Normalize(torch.autograd.Function):
    """y = x s^-beta with s = k + alpha mean(x^2), and dx = dy s^-beta - 2 beta x alpha mean(dy x s^-beta / s)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Rule) -> Tensor:
        scale = _window_mean(x * x, rule, rule.k)
        factor = _inverse_power(scale, rule.beta)
        ctx.save_for_backward(x, scale, factor)
        ctx.rule = rule
        return x * factor

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, scale, factor = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may follow
            return derivative(x, gradients[0], ctx.rule), None
        direct = gradients[0] * factor
        spread = _window_mean((direct * x).div_(scale), ctx.rule, 0.0)
        return direct.addcmul_(spread, x, value=-2 * ctx.rule.beta), None  # 0 times the largest x is 0


class _InParts(torch.autograd.Function):
    """The same across channels, some pixels at a time; only x is kept, the rest is computed again when needed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Rule) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rule = rule
        return _in_parts(x, rule)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return derivative(x, gradients[0], ctx.rule), None
        rule, rows = ctx.rule, _pixels(x)
        above, below = _pixels(gradients[0]), torch.empty_like(rows)
        for part in _parts(rows):
            values = rows[part]
            scale = _window_mean(values * values, rule, rule.k)
            direct = torch.mul(above[part], _inverse_power(scale, rule.beta), out=below[part])
            spread = _window_mean((direct * values).div_(scale), rule, 0.0)
            direct.addcmul_(spread, values, value=-2 * rule.beta)
        return _planes(below, x), None


_LARGE = 1 << 20  # values; of fewer all steps are quicker at once, and what they keep is little
_PART = 1 << 18  # values that fit a core's cache with what is computed from them


def _in_parts(x: Tensor, rule: Rule) -> Tensor:
    """The top for a bottom in channels_last, some pixels at a time, so that every step but the first finds its values
    in the cache; two to three times as fast as the whole at once.
    """
    rows = _pixels(x)
    top = torch.empty_like(rows)
    for part in _parts(rows):
        factor = _inverse_power(_window_mean(rows[part] * rows[part], rule, rule.k), rule.beta)
        torch.mul(rows[part], factor, out=top[part])
    return _planes(top, x)


def _pixels(x: Tensor) -> Tensor:
    """(batch, channels, height, width) as (pixels, channels)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _planes(rows: Tensor, like: Tensor) -> Tensor:
    """(pixels, channels) in the shape of `like`, in channels_last."""
    return rows.view(like.shape[0], *like.shape[2:], like.shape[1]).permute(0, 3, 1, 2)


def _parts(rows: Tensor) -> Iterator[slice]:
    count = max(1, _PART // rows.shape[1])
    return (slice(start, start + count) for start in range(0, len(rows), count))


def _inverse_power(scale: Tensor, beta: float) -> Tensor:
    """scale^-beta; the usual beta from square roots, scale^(-1/2) scale^(-1/4), some four times as fast as pow."""
    if beta != 0.75:
        return scale.pow(-beta)
    root = scale.rsqrt()
    return root.mul_(root.sqrt())


def _window_mean(values: Tensor, rule: Rule, offset: float) -> Tensor:
    """offset + alpha * mean over the window around each value; may overwrite `values`."""
    if rule.within:
        return _mean_of_neighbours(values, rule, offset)
    total = values.clone()
    for shift in range(1, min(rule.size // 2, values.shape[1] - 1) + 1):
        total[:, shift:] += values[:, :-shift]
        total[:, :-shift] += values[:, shift:]
    return torch.add(values.new_full((), offset), total, alpha=rule.alpha / rule.size, out=values)


def _mean_of_neighbours(values: Tensor, rule: Rule, offset: float) -> Tensor:
    half = rule.size // 2
    if values.device.type != "cpu" or values.dtype != torch.float32:
        return F.avg_pool2d(values, rule.size, 1, half).mul_(rule.alpha).add_(offset)
    # oneDNN convolves each channel with a constant kernel in half the time of AVE pooling, and scales on the way
    channels = values.shape[1]
    kernel = values.new_full((channels, 1, rule.size, rule.size), rule.alpha / rule.size**2)
    return F.conv2d(channels_last(values), kernel, values.new_full((channels,), offset), padding=half, groups=channels)
