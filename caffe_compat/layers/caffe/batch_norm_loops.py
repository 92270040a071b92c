"""BatchNorm by its batch's statistics, what scales, adds to and rectifies it, in the loops of kernels/batch_norm.py.

Forward: one pass over the bottom for the statistics, one that makes the top. Backward: one for the two sums of each
channel, one that makes the bottom's gradient; what the ReLU held back follows from the bottom, or from the top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caffe_compat.layers.handed import Handed, handed_of, marked
from caffe_compat.layers.looped import is_plain, loops_for

if TYPE_CHECKING:
    from caffe_compat.layers.base import Layer
    from caffe_compat.layers.caffe.batch_norm import BatchNorm

_VECTOR = 16
_ROW = 512  # floats; what the loops read again and again of a row stays in the first cache
_LONGEST_ROW = 2048


@dataclass(frozen=True)
class Rule:
    """rectifies: whether ReLU is computed. owns_bottom, owns_gradient: whether the backward pass may write on those."""

    rectifies: bool = False
    owns_bottom: bool = False
    owns_gradient: bool = False


@dataclass
class _Work:
    """Of one pass: the loops, the length of a row, what `statistics` made, and where gradients come from and go to.

    saved, terms: addresses in `made`. own: for gradients of the top; below: of the other blob that is added, where a
    pass takes them from there.
    """

    loops: ModuleType
    rule: Rule
    size: int
    channels: int
    lanes: int
    groups: int
    made: Tensor
    saved: int
    terms: int
    own: Handed
    below: Handed | None


def normalized_by_loop(layer: BatchNorm, bottom: Tensor, other: Tensor | None, rule: Rule) -> Tensor | None:
    """The top of `layer`, scaled, with `other` added and rectified; None where no loop may read what there is."""
    loops = loops_for("batch_norm", bottom, 1)
    if loops is None:
        return None
    stored, (scale, shift) = _blobs(layer), _terms(layer)
    size, channels = bottom.numel(), layer.channels
    lanes = _lanes(channels)
    if size % _VECTOR or lanes > _LONGEST_ROW or not _is_readable(bottom, other, *stored, scale, shift):
        return None
    made = bottom.new_empty(2 * channels + (3 * lanes + 1) // 2, dtype=torch.float64)
    address, below = made.data_ptr(), None if other is None else handed_of(other)
    sizes = (size, channels, lanes, loops.groups_for(size))
    work = _Work(loops, rule, *sizes, made, address, address + 16 * channels, Handed(), below)
    _find_statistics(work, layer, bottom, stored, (scale, shift))
    top: Tensor = _Normalize.apply(work, bottom, scale, shift, other)  # type: ignore[no-untyped-call]
    return marked(top, work.own)


def _blobs(layer: Layer) -> list[Tensor]:
    """As they are stored, in a quarter of the time that a ParameterList takes for one after the other."""
    return list(layer.blobs._parameters.values())  # type: ignore[arg-type]


def _terms(layer: BatchNorm) -> tuple[Tensor | None, Tensor | None]:
    if not layer.scales:
        return None, None
    scale, *shift = _blobs(layer.scales[0])
    return scale, shift[0] if shift else None


def _is_readable(bottom: Tensor, other: Tensor | None, *blobs: Tensor | None) -> bool:
    for blob in blobs:
        if blob is None:
            continue
        # a blob that is shared with a layer of another shape has that one's
        if blob.dim() != 1 or blob.dtype != torch.float32 or not (blob.is_cpu and blob.is_contiguous()):
            return False
    if other is None:
        return True
    is_alike = type(other) is Tensor and other.dtype == torch.float32 and other.shape == bottom.shape
    return is_alike and is_plain(other) and other.is_contiguous(memory_format=torch.channels_last)


def _lanes(channels: int) -> int:
    """The length of a row: whole vectors and whole pixels."""
    least = math.lcm(channels, _VECTOR)
    return least * max(1, _ROW // least)


def _find_statistics(work: _Work, layer: BatchNorm, bottom: Tensor, blobs: list[Tensor], terms: Any) -> None:
    groups, channels, lanes = work.groups, work.channels, work.lanes
    between = bottom.new_empty(groups * (2 * channels + 3 * lanes), dtype=torch.float64)
    sums = between.data_ptr()
    doubles = sums + 16 * groups * channels
    floats = doubles + 16 * groups * lanes
    work.loops.moments(work.size, bottom.data_ptr(), work.size, lanes, channels, groups, sums, floats, doubles)
    count = work.size // channels
    work.loops.statistics(
        1, sums, channels, groups, count, layer.eps, *map(_address, terms), lanes, work.saved, work.terms,
        *map(_address, blobs), layer.fraction,
    )  # fmt: skip
    for blob in blobs:
        if not blob.is_inference():  # which has no version
            torch.autograd.graph.increment_version(blob)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, work: _Work, bottom: Tensor, scale: Tensor | None, shift: Tensor | None, other: Tensor | None
    ) -> Tensor:
        top = torch.empty_like(bottom)
        loop, size, address = work.loops.normalised, work.size, bottom.data_ptr()
        loop(size, address, size, work.lanes, work.terms, int(work.rule.rectifies), _address(other), top.data_ptr())
        ctx.work, ctx.is_sum = work, other is not None
        ctx.set_materialize_grads(False)  # the whole gradient may have been handed down
        ctx.save_for_backward(bottom, top if ctx.is_sum and work.rule.rectifies else None)
        return top

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        work: _Work = ctx.work
        bottom, top = ctx.saved_tensors
        _, wants_bottom, wants_scale, wants_shift, wants_other = ctx.needs_input_grad
        gathered = work.own.gathered(gradients[0], torch.channels_last, work.rule.owns_gradient, top is not None)
        if gathered is None:
            return (None,) * 5
        gradient, more, is_owned = gathered
        masks = int(work.rule.rectifies and top is None)
        scale, shift, slopes = _sums(work, bottom, gradient, masks, (top, more))
        below = None
        if wants_bottom:
            below = _place(work, bottom, gradient, is_owned and not ctx.is_sum)
            addresses = bottom.data_ptr(), work.terms, masks, slopes.data_ptr(), below.data_ptr()
            work.loops.gradients(work.size, gradient.data_ptr(), work.size, work.lanes, *addresses)
        handed = gradient if wants_other else None
        if handed is not None and work.below is not None and is_owned:
            work.below.put(handed)
            handed = None
        return None, below, scale if wants_scale else None, shift if wants_shift else None, handed


def _sums(
    work: _Work, bottom: Tensor, gradient: Tensor, masks: int, others: tuple[Tensor | None, Tensor | None]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of factors and offsets, (channels,), and the slopes of the bottom's gradient, (2, lanes)."""
    groups, channels, lanes = work.groups, work.channels, work.lanes
    between = bottom.new_empty(groups * (2 * channels + lanes), dtype=torch.float64)
    sums = between.data_ptr()
    work.loops.gradient_sums(
        work.size, gradient.data_ptr(), work.size, lanes, channels, bottom.data_ptr(), work.terms, masks,
        *map(_address, others), groups, sums, sums + 16 * groups * channels,
    )  # fmt: skip
    scale, shift, slopes = map(bottom.new_empty, (channels, channels, 2 * lanes))
    sizes, results = (channels, groups, work.size // channels, lanes), map(_address, (scale, shift, slopes))
    work.loops.gradient_terms(1, sums, *sizes, work.saved, work.terms, *results)
    return scale, shift, slopes


def _place(work: _Work, bottom: Tensor, gradient: Tensor, is_owned: bool) -> Tensor:
    """Where the gradient of the bottom goes: into memory that nobody reads any more, if there is some."""
    if is_owned:
        return gradient
    if not work.rule.owns_bottom:
        return torch.empty_like(bottom)
    torch.autograd.graph.increment_version(bottom)  # so that a second backward pass is refused
    return bottom.detach()
