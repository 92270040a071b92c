"""LRN by compiled loops; torch's way is in lrn.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from caffe_compat.layers.looped import loops_for, new_images, pixel_distance

if TYPE_CHECKING:
    from caffe_compat.layers.caffe.lrn import Rule

_ROOTS = 8  # values that are read or added in the time of one power


def can_loop(bottom: Tensor, rule: Rule) -> bool:
    """Whether a loop may read `bottom`, and one has the power."""
    return rule.beta == 0.75 and loops_for("lrn", bottom) is not None


def normalized_by_loop(bottom: Tensor, rule: Rule, top: Tensor | None = None) -> Tensor | None:
    """The top of an LRN layer, without a gradient; None where no loop may read `bottom`, or none has the power.

    Across channels it is written on `top` where that is given, which may be some channels of larger images in
    torch.channels_last.
    """
    loops = loops_for("lrn", bottom) if rule.beta == 0.75 else None
    if loops is None or (rule.within and top is not None):
        return None
    batch, channels, height, width = bottom.shape
    top = new_images(bottom, height, width) if top is None else top
    work, half = bottom.numel() * _ROOTS, min(rule.size // 2, max(channels, height, width) - 1)
    if rule.within:
        loops.within(work, bottom, top, batch, height, width, channels, half, rule.alpha / rule.size**2)
    else:
        pixels = batch * height * width
        sizes = (pixels, channels, half, rule.alpha / rule.size, rule.k)
        loops.across(work, bottom, top, *sizes, pixel_distance(top))
    return top
