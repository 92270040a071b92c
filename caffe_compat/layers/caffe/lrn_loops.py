"""LRN by compiled loops; torch's way is in lrn.py."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.layers.looped import gradient_for_loops, loops_for, new_images, pixel_distance

if TYPE_CHECKING:
    from caffe_compat.layers.caffe.lrn import Rule

_ROOTS = 8  # values that are read or added in the time of one power


def normalized_by_loop(bottom: Tensor, rule: Rule, top: Tensor | None = None) -> Tensor | None:
    """The top of an LRN layer; None where no loop may read `bottom`, or none has the power.

    Across channels, without gradients, it is written on `top` where that is given, which may be some channels of larger
    images in torch.channels_last.
    """
    loops = loops_for("lrn", bottom) if rule.beta == 0.75 else None
    if loops is None or (rule.within and top is not None):
        return None
    if torch.is_grad_enabled() and bottom.requires_grad:
        trained: Tensor = _Normalize.apply(bottom, rule, loops)  # type: ignore[no-untyped-call]
        return trained
    return _within(loops, bottom, rule) if rule.within else _across(loops, bottom, rule, top)


class _Normalize(torch.autograd.Function):
    """The same; kept is the bottom alone, for to sum squares anew is faster than to read the sums."""

    @staticmethod
    def forward(ctx: Any, bottom: Tensor, rule: Rule, loops: ModuleType) -> Tensor:
        ctx.rule, ctx.loops = rule, loops
        ctx.save_for_backward(bottom)
        return _within(loops, bottom, rule) if rule.within else _across(loops, bottom, rule, None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (bottom,) = ctx.saved_tensors
        above = gradient_for_loops(gradients[0])
        if above is None:
            return derivative(bottom, gradients[0], ctx.rule), None, None
        back = _within_back if ctx.rule.within else _across_back
        return back(ctx.loops, bottom, above, ctx.rule), None, None


def normalized(bottom: Tensor, rule: Rule) -> Tensor:
    """The top, in operations that torch differentiates, and maps by torch.func."""
    return bottom * _scale(bottom, rule).pow(-rule.beta)


def derivative(bottom: Tensor, above: Tensor, rule: Rule) -> Tensor:
    """The gradient of the bottom from that of the top, in operations that have derivatives themselves."""
    scale = _scale(bottom, rule)
    direct = above * scale.pow(-rule.beta)
    return direct - bottom * _mean(direct * bottom / scale, rule) * (2 * rule.beta * rule.alpha)


def _scale(bottom: Tensor, rule: Rule) -> Tensor:
    return rule.k + rule.alpha * _mean(bottom * bottom, rule)


def _mean(values: Tensor, rule: Rule) -> Tensor:
    """Over the window around each value."""
    if rule.within:
        return F.avg_pool2d(values, rule.size, 1, rule.size // 2)
    half = rule.size // 2  # padded beforehand, for torch has no gradient of fewer channels than are averaged
    return F.avg_pool3d(F.pad(values, (0, 0, 0, 0, half, half))[:, None], (rule.size, 1, 1), 1)[:, 0]


def _across(loops: ModuleType, bottom: Tensor, rule: Rule, top: Tensor | None) -> Tensor:
    top = new_images(bottom, *bottom.shape[2:]) if top is None else top
    loops.across(bottom.numel() * _ROOTS, bottom, top, *_channel_sizes(bottom, rule), pixel_distance(top))
    return top


def _across_back(loops: ModuleType, bottom: Tensor, above: Tensor, rule: Rule) -> Tensor:
    below = torch.empty_like(above)
    memory = bottom.new_empty(loops.most_parts(), bottom.shape[1])
    loops.across_back(bottom.numel() * _ROOTS, bottom, above, below, memory, *_channel_sizes(bottom, rule))
    return below


def _channel_sizes(bottom: Tensor, rule: Rule) -> tuple[int | float, ...]:
    batch, channels, height, width = bottom.shape
    half = min(rule.size // 2, channels - 1)
    return batch * height * width, channels, half, rule.alpha / rule.size, rule.k


def _within(loops: ModuleType, bottom: Tensor, rule: Rule) -> Tensor:
    top = torch.empty_like(bottom)
    loops.within(bottom.numel() * _ROOTS, bottom, top, *_plane_sizes(bottom, rule))
    return top


def _within_back(loops: ModuleType, bottom: Tensor, above: Tensor, rule: Rule) -> Tensor:
    below = torch.empty_like(above)
    memory = bottom.new_empty(loops.most_parts() * bottom[0].numel())
    loops.within_back(bottom.numel() * _ROOTS, bottom, above, below, memory, *_plane_sizes(bottom, rule))
    return below


def _plane_sizes(bottom: Tensor, rule: Rule) -> tuple[int | float, ...]:
    batch, channels, height, width = bottom.shape
    half = min(rule.size // 2, max(height, width) - 1)
    return batch, height, width, channels, half, rule.alpha / rule.size**2
