"""MAX and AVE pooling by compiled loops; torch's way, and what is pooled, are in pooling.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from caffe_compat.layers.looped import loops_for, new_images, pixel_distance

if TYPE_CHECKING:
    from caffe_compat.layers.caffe.pooling import Plan


def max_by_loop(bottom: Tensor, plan: Plan, top: Tensor | None = None) -> Tensor | None:
    """The maximum of every window, without a gradient; None where no loop may read `bottom`.

    NaN never wins, and a window without a value above -FLT_MAX gives that. It is written on `top` where that is given,
    which may be some channels of larger images in torch.channels_last.
    """
    loops = loops_for("pooling", bottom)
    if loops is None:
        return None
    top = new_images(bottom, *plan.output) if top is None else top
    loops.maxima(bottom.numel(), bottom, top, *_sizes(bottom, plan), pixel_distance(top))
    return top


def average_by_loop(bottom: Tensor, plan: Plan, include_pad: bool = True, top: Tensor | None = None) -> Tensor | None:
    """As `max_by_loop`, the average of every window as `average_pool` has it."""
    loops = loops_for("pooling", bottom)
    if loops is None:
        return None
    top = new_images(bottom, *plan.output) if top is None else top
    loops.averages(bottom.numel(), bottom, top, *_sizes(bottom, plan), pixel_distance(top), int(include_pad))
    return top


def _sizes(bottom: Tensor, plan: Plan) -> tuple[int, ...]:
    """What the loops want to know, in the order of their words."""
    batch, channels, height, width = bottom.shape
    windows = plan.windows
    return batch, height, width, channels, *plan.output, *windows.kernel, *windows.stride, *windows.pad
