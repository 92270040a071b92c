"""Losses of probabilities: SoftmaxWithLoss, SigmoidCrossEntropyLoss, MultinomialLogisticLoss and their normalisers.

Source: softmax_loss_layer.cpp, sigmoid_cross_entropy_loss_layer.cpp, multinomial_logistic_loss_layer.cpp of Caffe 1.0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.fields import enum_name, given
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register

FLT_MIN = 2.0**-126  # the smallest normal float32: the least probability whose logarithm a SoftmaxWithLoss takes


def normalization(loss_param: Any, default: str) -> str:
    """FULL, VALID, BATCH_SIZE, NONE or PRE_FIXED; the deprecated `normalize` speaks only where that does not."""
    if loss_param.HasField("normalization"):
        return enum_name(loss_param, "normalization")
    if loss_param.HasField("normalize"):
        return "VALID" if loss_param.normalize else "BATCH_SIZE"
    return default


def normalizer(rule: str, outer: int, inner: int, counts: Tensor | None, fixed: float = 1) -> Tensor | float:
    """What a loss over outer * inner places is divided by: at least 1, so that an all-ignored batch gives 0.

    counts: where labels are not ignored, or None when none is. fixed: what PRE_FIXED (R-FCN's fork) divides by.
    """
    if rule == "PRE_FIXED":
        return max(1.0, fixed)
    if rule == "VALID" and counts is not None:
        return counts.sum().clamp(min=1)
    return max(1, {"FULL": outer * inner, "VALID": outer * inner, "BATCH_SIZE": outer, "NONE": 1}[rule])


class _SoftmaxLoss(torch.autograd.Function):
    """The loss with its probability clamped from below, the gradient p - 1 as if it were not."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
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
        ctx.save_for_backward(probability, index, counts)
        ctx.mark_non_differentiable(probability)
        return -losses.sum() / divisor, probability

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        probability, index, counts = ctx.saved_tensors
        scale, each, own = ctx.slopes
        gradient = probability.clone() if (scale, each) == (1, 0) else probability * scale - each
        gradient.scatter_add_(ctx.axis, index, gradient.new_full((), -own).expand(index.shape))
        if counts is not None:
            gradient = torch.where(counts, gradient, 0)
        return gradient.mul_(gradients[0] / ctx.divisor), None, None, None, None, None


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
        found = _SoftmaxLoss.apply(scores, index, counts, divisor, axis, slopes)  # type: ignore[no-untyped-call]
        loss, probability = found
        return (loss, probability) if len(self.param.top) > 1 else loss


def _whole_batch(layer: SigmoidCrossEntropyLoss) -> str:
    """The paper's fork ignores loss_param: it divides by the batch size and ignores no label."""
    layer.ignore_label = None
    return "BATCH_SIZE"


def _as_given(layer: SigmoidCrossEntropyLoss) -> str:
    """Caffe 1.0: as loss_param says, BATCH_SIZE where it says nothing."""
    layer.ignore_label = given(layer.param.loss_param, "ignore_label")
    return normalization(layer.param.loss_param, "BATCH_SIZE")


class _SigmoidCrossEntropy(torch.autograd.Function):
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


LOG_THRESHOLD = 1e-20  # the least probability whose logarithm the losses on given probabilities take


class _ClampedLog(torch.autograd.Function):
    """log(max(p, 1e-20)), with gradient 1 / max(p, 1e-20) on both sides of the clamp."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor) -> Tensor:
        clamped = probability.clamp(min=LOG_THRESHOLD)
        ctx.save_for_backward(clamped)
        return clamped.log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (clamped,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] / clamped
        return gradient


def clamped_log(probability: Tensor) -> Tensor:
    """log(max(p, 1e-20)) of each element, with Caffe's gradient 1 / max(p, 1e-20)."""
    logarithm: Tensor = _ClampedLog.apply(probability)  # type: ignore[no-untyped-call]
    return logarithm


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(LossLayer):
    """-sum(log(max(p, 1e-20))) / N over the given probability p of each of N labels."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        check_label_count(self, bottom_shapes[1], bottom_shapes[0][:1])
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        probability = bottoms[0].flatten(1)
        number, classes = probability.shape
        index, _ = class_labels(self, bottoms[1], (number,), classes, None)
        return -clamped_log(probability.gather(1, index.unsqueeze(1))).sum() / number
