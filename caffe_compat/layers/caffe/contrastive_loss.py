"""ContrastiveLoss (contrastive_loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Shape, exactly
from caffe_compat.layers.function import Function, is_differentiated
from caffe_compat.layers.kinks import root
from caffe_compat.layers.loss import LossLayer, rows
from caffe_compat.layers.registry import register


class _Contrast(Function):
    """The loss of pairs by difference a - b; the gradient of dissimilar pairs divides by d + 1e-4, not by d."""

    @staticmethod
    def forward(ctx: Any, difference: Tensor, similar: Tensor, margin: float, legacy: bool) -> Tensor:
        squared = difference.square().sum(1, keepdim=True)
        gap, factor = _apart(squared, margin, legacy)
        ctx.save_for_backward(difference, torch.where(similar, 1.0, factor), similar)
        number: int = difference.shape[0]
        ctx.number, ctx.how = number, (margin, legacy)
        return torch.where(similar, squared, gap if legacy else gap.square()).sum() / (2 * number)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        difference, factor, similar = ctx.saved_tensors
        if is_differentiated(ctx):
            squared = difference.square().sum(1, keepdim=True)
            factor = torch.where(similar, 1.0, _apart(squared, *ctx.how)[1])
        return difference * factor * (gradients[0] / ctx.number), None, None, None


def _apart(squared: Tensor, margin: float, legacy: bool) -> tuple[Tensor, Tensor]:
    """What dissimilar pairs lack to the margin, and by what their difference is multiplied in its gradient."""
    distance = squared if legacy else root(squared)
    gap = (margin - distance).clamp(min=0)
    return gap, -(gap > 0).to(gap.dtype) if legacy else -gap / (distance + 1e-4)


def contrast(difference: Tensor, similar: Tensor, margin: float, legacy: bool) -> Tensor:
    """The contrastive loss of pairs whose features differ by `difference` (N, C); similar: bool (N, 1)."""
    loss: Tensor = _Contrast.apply(difference, similar, margin, legacy)  # type: ignore[no-untyped-call]
    return loss


@register("ContrastiveLoss")
class ContrastiveLoss(LossLayer):
    """sum(y d^2 + (1 - y) max(margin - d, 0)^2) / (2 N), d the distance of the two features of a pair, y 1 if similar.

    Bottoms: features a and b, (N, C) or (N, C, 1, 1), and y, N values. legacy_version: max(margin - d^2, 0) instead.
    """

    bottoms = exactly(3)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.margin: float = param.contrastive_loss_param.margin
        self.legacy_version: bool = param.contrastive_loss_param.legacy_version

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        a, b, similar = bottom_shapes
        a, b = ((*shape, 1) if len(shape) == 1 else shape for shape in (a, b))  # one value a feature
        if len(a) < 2 or math.prod(a[2:]) != 1 or a[:2] != b[:2] or math.prod(b[2:]) != 1:
            raise ShapeError(
                f"layer '{self.name}': bottoms '{self.param.bottom[0]}' {a} and '{self.param.bottom[1]}' {b} must both "
                "be (N, C) or (N, C, 1, 1)"
            )
        if math.prod(similar) != a[0]:
            raise ShapeError(
                f"layer '{self.name}': bottom 2 '{self.param.bottom[2]}' has shape {similar}, wanted one value for "
                f"each of {a[0]} pairs"
            )
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, b, similar = bottoms
        same = similar.detach().reshape(-1, 1).trunc() != 0
        return contrast(rows(a) - rows(b), same, self.margin, self.legacy_version)
