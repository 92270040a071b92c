"""SigmoidCrossEntropyLoss (sigmoid_cross_entropy_loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import given
from caffe_compat.layers.function import Function
from caffe_compat.layers.loss import LossLayer, normalization, normalizer
from caffe_compat.layers.registry import register


def _whole_batch(layer: SigmoidCrossEntropyLoss) -> str:
    """The paper's fork ignores loss_param: it divides by the batch size and ignores no label."""
    layer.ignore_label = None
    return "BATCH_SIZE"


def _as_given(layer: SigmoidCrossEntropyLoss) -> str:
    """Caffe 1.0: as loss_param says, BATCH_SIZE where it says nothing."""
    layer.ignore_label = given(layer.param.loss_param, "ignore_label")
    return normalization(layer.param.loss_param, "BATCH_SIZE")


class _SigmoidCrossEntropy(Function):
    """-t log(s) - (1 - t) log(1 - s) with s = sigmoid(x), in Caffe's terms; the gradient is s - t.

    log(1 + exp(-|x|)) is rounded as Caffe rounds it, not log1p: a loss of right answers is made of such terms alone.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(x, target)
        return (1 + (-x.abs()).exp()).log() - x * (target - (x >= 0).to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, target = ctx.saved_tensors
        return (x.sigmoid() - target) * gradients[0], None


SIGMOID_NORMALIZATION = {"bvlc": _as_given, "wen2017": _whole_batch}


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(LossLayer):
    """-sum(t log(s) + (1 - t) log(1 - s)) / normalizer with s = sigmoid(x), for targets t in [0, 1] of x's count.

    Targets get no gradient; those equal to ignore_label, once their fraction is cut off, count for nothing.
    """

    ignore_label: int | None

    fork_fields = frozenset({"loss_param.pre_fixed_normalizer"})

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.normalization = SIGMOID_NORMALIZATION[context.compat](self)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_equal_counts(bottom_shapes)
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        x = bottoms[0]
        target = bottoms[1].detach().reshape(x.shape)
        losses: Tensor = _SigmoidCrossEntropy.apply(x, target)  # type: ignore[no-untyped-call]
        counts = None
        if self.ignore_label is not None:
            counts = target.trunc() != self.ignore_label
            losses = torch.where(counts, losses, 0)
        fixed = self.param.loss_param.pre_fixed_normalizer
        return losses.sum() / normalizer(self.normalization, x.shape[0], math.prod(x.shape[1:]), counts, fixed)
