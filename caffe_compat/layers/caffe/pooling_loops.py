"""MAX and AVE pooling by compiled loops; torch's way, and what is pooled, are in pooling.py.

A ReLU before or behind may be computed in the same pass. What is NaN stays it before AVE, and never is a maximum.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.layers.looped import gradient_for_loops, loops_for, new_images, pixel_distance

if TYPE_CHECKING:
    from caffe_compat.layers.caffe.pooling import Plan

LEAST = float(torch.finfo(torch.float32).min)  # -FLT_MAX, where Caffe's search for a maximum begins
RECTIFIED = ("no", "before", "behind")  # whether a ReLU is computed too
_MOST_PLACES = 255  # that a byte tells apart, and none


def max_by_loop(bottom: Tensor, plan: Plan, top: Tensor | None = None, rectified: str = "no") -> Tensor | None:
    """The maximum of every window; None where no loop may read `bottom`.

    NaN never wins, and a window without a value above -FLT_MAX gives that. Without gradients it is written on `top`
    where that is given, which may be some channels of larger images in torch.channels_last.
    """
    loops = loops_for("pooling", bottom)
    if loops is None:
        return None
    if torch.is_grad_enabled() and bottom.requires_grad:
        if math.prod(plan.windows.kernel) > _MOST_PLACES:
            return None
        maxima: Tensor = _Max.apply(bottom, plan, rectified, loops)  # type: ignore[no-untyped-call]
        return maxima
    bottom = F.relu(bottom) if rectified == "before" else bottom
    top = new_images(bottom, *plan.output) if top is None else top
    least = 0.0 if rectified == "behind" else LEAST
    loops.maxima(bottom.numel(), bottom, top, *_sizes(bottom, plan), pixel_distance(top), least)
    return top


def average_by_loop(
    bottom: Tensor, plan: Plan, include_pad: bool = True, top: Tensor | None = None, is_rectified: bool = False
) -> Tensor | None:
    """As `max_by_loop`, the average of every window as `average_pool` has it, of the values or of those above 0."""
    loops = loops_for("pooling", bottom)
    if loops is None:
        return None
    if torch.is_grad_enabled() and bottom.requires_grad:
        averages: Tensor = _Average.apply(bottom, plan, include_pad, is_rectified, loops)  # type: ignore[no-untyped-call]
        return averages
    return _averages(loops, bottom, plan, include_pad, top, is_rectified)


class _Max(torch.autograd.Function):
    """The maximum of every window; kept are their places, a byte each, and not the bottom."""

    @staticmethod
    def forward(ctx: Any, bottom: Tensor, plan: Plan, rectified: str, loops: ModuleType) -> Tensor:
        top = new_images(bottom, *plan.output)
        places = torch.empty_like(top, dtype=torch.uint8)
        sizes = _sizes(bottom, plan)
        least, floor = 0.0 if rectified == "behind" else LEAST, 0.0 if rectified == "before" else -math.inf
        loops.places_of_maxima(bottom.numel(), bottom, top, *sizes, pixel_distance(top), least, places, floor)
        ctx.save_for_backward(places)
        ctx.plan, ctx.shape, ctx.sizes, ctx.loops = plan, bottom.shape, sizes, loops
        return top

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (places,), shape = ctx.saved_tensors, ctx.shape
        above = gradient_for_loops(gradients[0])
        if above is None:
            return _at_places(gradients[0], places, shape, ctx.plan, ctx.loops.NOWHERE), None, None, None
        below = new_images(above, *shape[2:])
        ctx.loops.to_places(below.numel(), below, above, *ctx.sizes, shape[1], 0.0, places)
        return below, None, None, None


def _at_places(above: Tensor, places: Tensor, shape: Any, plan: Plan, nowhere: int) -> Tensor:
    """The gradient of the bottom by torch."""
    windows, numbers = plan.windows, places.long()
    steps = zip(plan.output, windows.stride, windows.pad, strict=True)
    first = [torch.arange(out, device=places.device) * stride - pad for out, stride, pad in steps]
    rows = numbers.div(windows.kernel[1], rounding_mode="floor") + first[0][:, None]
    index = rows * shape[3] + numbers.remainder(windows.kernel[1]) + first[1]
    is_there, planes = places != nowhere, (*shape[:2], -1)
    values = torch.where(is_there, above, 0.0).reshape(planes)
    below = values.new_zeros(*shape[:2], shape[2] * shape[3])
    return below.scatter_add(2, torch.where(is_there, index, 0).reshape(planes), values).reshape(shape)


class _Average(torch.autograd.Function):
    """The average of every window; the bottom is kept where a ReLU goes before."""

    @staticmethod
    def forward(
        ctx: Any, bottom: Tensor, plan: Plan, include_pad: bool, is_rectified: bool, loops: ModuleType
    ) -> Tensor:
        if is_rectified:
            ctx.save_for_backward(bottom)
        ctx.plan, ctx.include_pad, ctx.sizes, ctx.loops = plan, include_pad, _sizes(bottom, plan), loops
        return _averages(loops, bottom, plan, include_pad, None, is_rectified)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (bottom,) = ctx.saved_tensors or (None,)
        above = gradient_for_loops(gradients[0])
        if above is None:
            below = average_back(gradients[0], ctx.plan, ctx.include_pad)
            return below if bottom is None else torch.where(bottom <= 0, 0.0, below), None, None, None, None
        below, shares, rest = new_images(above, *ctx.plan.size), torch.empty_like(above), (*ctx.sizes, above.shape[1])
        ctx.loops.shares(above.numel(), 0, above, *rest, 0.0, int(ctx.include_pad), shares)
        ctx.loops.from_shares(below.numel(), below, shares, *rest, 0.0, 0 if bottom is None else bottom)
        return below, None, None, None, None


def average_back(above: Tensor, plan: Plan, include_pad: bool) -> Tensor:
    """The gradient of the bottom of `average_pool` by torch, from that of the top."""
    from caffe_compat.layers.caffe.pooling import average_pool

    with torch.enable_grad():
        shape = (*above.shape[:2], *plan.size)  # any values would do
        zeros = torch.zeros(shape, dtype=above.dtype, device=above.device, requires_grad=True)
        top = average_pool(zeros, plan, include_pad)
    (below,) = torch.autograd.grad(top, zeros, above, create_graph=torch.is_grad_enabled())
    return below


def _averages(
    loops: ModuleType, bottom: Tensor, plan: Plan, include_pad: bool, top: Tensor | None, is_rectified: bool
) -> Tensor:
    top = new_images(bottom, *plan.output) if top is None else top
    floor = 0.0 if is_rectified else -math.inf
    loops.averages(bottom.numel(), bottom, top, *_sizes(bottom, plan), pixel_distance(top), floor, int(include_pad))
    return top


def _sizes(bottom: Tensor, plan: Plan) -> tuple[int, ...]:
    """What the loops want to know, in the order of their words."""
    batch, channels, height, width = bottom.shape
    windows = plan.windows
    return batch, height, width, channels, *plan.output, *windows.kernel, *windows.stride, *windows.pad
