"""SoftmaxWithLoss (softmax_loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.caffe.softmax import softmax_anew
from caffe_compat.layers.fields import given
from caffe_compat.layers.function import Function, is_differentiated, shadow
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.looped import is_mapped
from caffe_compat.layers.loss import FLT_MIN, LossLayer, normalization, normalizer
from caffe_compat.layers.registry import register


class _SoftmaxLoss(Function):
    """The loss with its probability clamped from below, the gradient p - 1 as if it were not."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        zeros: Tensor | None,
        index: Tensor,
        counts: Tensor | None,
        divisor: Tensor | float,
        axis: int,
        slopes: tuple[float, float, float],
    ) -> tuple[Tensor, Tensor]:
        probability = functional.softmax(scores, axis)
        index = index.unsqueeze(axis)
        losses = probability.gather(axis, index).clamp(min=FLT_MIN).log()
        if counts is not None:
            counts = counts.unsqueeze(axis)
            losses = torch.where(counts, losses, 0)
        ctx.axis, ctx.divisor, ctx.slopes = axis, divisor, slopes
        ctx.save_for_backward(probability, zeros, index, counts)
        ctx.mark_non_differentiable(probability)
        return -losses.sum() / divisor, probability

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        probability, zeros, index, counts = ctx.saved_tensors
        if is_differentiated(ctx):
            probability = softmax_anew(probability, zeros, ctx.axis)
        scale, each, own = ctx.slopes
        gradient = probability.clone() if (scale, each) == (1, 0) else probability * scale - each
        gradient.scatter_add_(ctx.axis, index, gradient.new_full((), -own).expand(index.shape))
        if counts is not None:
            gradient = torch.where(counts, gradient, 0)
        factor = gradients[0] / ctx.divisor
        gradient = gradient * factor if is_mapped() else gradient.mul_(factor)  # one of many gradients, perhaps
        return gradient, *[None] * 6


def _intel(smoothing: float, count: int) -> tuple[float, float, float]:
    """softmax_loss_layer.cpp of intel/caffe: targets 1 - s and s / count, and p times their sum."""
    other = smoothing / count
    return 1 - smoothing + (count - 1) * other, other, 1 - smoothing - other


def _nvidia(smoothing: float, count: int) -> tuple[float, float, float]:
    """softmax_loss_layer.cu of NVIDIA/caffe, whose CPU path ignores the field: s / (count - 1) for all, 1 - s more."""
    return 1, smoothing / max(1, count - 1), 1 - smoothing


SMOOTHED = {"intel": _intel, "nvidia": _nvidia}


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(LossLayer):
    """Minus the mean log of the softmax probability of each label: -sum(log(max(p, FLT_MIN))) / normalizer.

    Bottoms: scores with classes along softmax_param.axis, and one label for each other place. Tops: the loss, and if
    asked for the probabilities (no gradient flows through them). One place adds at most 87.3365; its gradient stays
    p - 1. A batch of ignored labels gives 0.

    label_smoothing of NVIDIA's and Intel's forks changes the gradient alone: scale * p - each, and less own for the
    label, as `SMOOTHED` says for the number of values of an item. In TRAIN the net must show which fork it is for.
    """

    tops = Count(1, 2)

    fork_fields = frozenset({"loss_param.pre_fixed_normalizer", "loss_param.label_smoothing"})

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis: int = param.softmax_param.axis
        self.ignore_label: int | None = given(param.loss_param, "ignore_label")
        self.normalization = normalization(param.loss_param, "VALID")
        self.smoothing: float = param.loss_param.label_smoothing if context.phase == "TRAIN" else 0
        if self.smoothing and context.fork not in SMOOTHED:
            raise UnsupportedParameterError(
                f"layer '{self.name}': loss_param.label_smoothing is {self.smoothing:g}, which NVIDIA's and Intel's "
                "forks compute differently, and no other field of the net shows which it is for; leave it out"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        super().top_shapes(bottom_shapes)
        scores, label = bottom_shapes
        axis = self.canonical_axis(self.axis, scores, "softmax_param.axis")
        check_label_count(self, label, scores[:axis] + scores[axis + 1 :])
        return [(), scores][: max(1, len(self.param.top))]

    def forward(self, *bottoms: Tensor) -> Any:
        scores, label = bottoms
        axis = self.axis % scores.dim()
        shape = tuple(scores.shape)
        index, counts = class_labels(self, label, shape[:axis] + shape[axis + 1 :], shape[axis], self.ignore_label)
        fixed = self.param.loss_param.pre_fixed_normalizer
        divisor = normalizer(self.normalization, math.prod(shape[:axis]), math.prod(shape[axis + 1 :]), counts, fixed)
        slopes = (1.0, 0.0, 1.0)
        if self.smoothing:
            slopes = SMOOTHED[self.context.fork](self.smoothing, math.prod(shape[axis:]))
        found = _SoftmaxLoss.apply(scores, shadow(scores), index, counts, divisor, axis, slopes)  # type: ignore[no-untyped-call]
        loss, probability = found
        return (loss, probability) if len(self.param.top) > 1 else loss
