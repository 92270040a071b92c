"""InfogainLoss: cross entropy weighed by a matrix of classes against classes (infogain_loss_layer.cpp).

Caffe 1.0 takes scores and puts a softmax inside; the paper's fork takes probabilities. `compat` chooses, for no
prototxt can tell which of the two it was written for.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.caffe.multinomial_logistic_loss import LOG_THRESHOLD, clamped_log
from caffe_compat.layers.caffe.softmax import softmax_anew
from caffe_compat.layers.fields import given
from caffe_compat.layers.function import Function, is_differentiated, shadow
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.loss import LossLayer, normalization, normalizer
from caffe_compat.layers.registry import register
from caffe_compat.proto.binary import read_blob
from caffe_compat.proto.files import find_file


class _InfogainLoss(Function):
    """The loss of scores (N, C, M) with weights of the same shape; its gradient takes no notice of the clamp."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, zeros: Tensor | None, weights: Tensor, divisor: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        probability = functional.softmax(scores, 1)
        ctx.save_for_backward(probability, zeros, weights)
        ctx.divisor = divisor
        ctx.mark_non_differentiable(probability)
        return -(weights * probability.clamp(min=LOG_THRESHOLD).log()).sum() / divisor, probability

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        probability, zeros, weights = ctx.saved_tensors
        if is_differentiated(ctx):
            probability = softmax_anew(probability, zeros, 1)
        gradient = probability * weights.sum(1, keepdim=True) - weights
        return gradient * (gradients[0] / ctx.divisor), None, None, None


@register("InfogainLoss")
class InfogainLoss(LossLayer):
    """-sum_j(H[label, j] * log(max(p_j, 1e-20))) / normalizer, H the infogain matrix (classes x classes).

    Bottoms: scores (Caffe 1.0, classes along `axis`) or probabilities (the fork, (N, C), divided by N); labels; H
    unless `infogain_loss_param.source` names a .binaryproto that holds it. Tops: the loss, and for scores their softmax
    if asked.
    """

    bottoms = Count(2, 3)
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.takes_scores = {"bvlc": True, "wen2017": False}[context.compat]
        self.axis: int = param.infogain_loss_param.axis if self.takes_scores else 1
        self.ignore_label: int | None = given(param.loss_param, "ignore_label") if self.takes_scores else None
        self.normalization = normalization(param.loss_param, "VALID") if self.takes_scores else "BATCH_SIZE"
        if self.takes_scores and param.loss_param.HasField("normalize"):
            raise UnsupportedParameterError(
                f"layer '{self.name}': loss_param.normalize is not for InfogainLoss; give normalization"
            )
        self.register_buffer("matrix", None, persistent=False)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        if len(bottom_shapes) == 3:
            return
        source: str = self.param.infogain_loss_param.source
        if not source:
            raise UnsupportedParameterError(
                f"layer '{self.name}': the infogain matrix is missing; name it in infogain_loss_param.source, or give "
                "it as the third bottom"
            )
        path = find_file(source, self.context.folder, named_by=f"layer '{self.name}'")
        self.matrix = torch.from_numpy(read_blob(path).copy())

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        super().top_shapes(bottom_shapes)
        scores, label = bottom_shapes[:2]
        axis = self.canonical_axis(self.axis, scores, "infogain_loss_param.axis")
        if not self.takes_scores:
            scores = (scores[0], math.prod(scores[1:]))
        check_label_count(self, label, scores[:axis] + scores[axis + 1 :])
        matrix = tuple(self.matrix.shape) if len(bottom_shapes) == 2 else bottom_shapes[2]
        if math.prod(matrix) != scores[axis] ** 2:
            raise ShapeError(
                f"layer '{self.name}': the infogain matrix has shape {matrix}, wanted {scores[axis]} x {scores[axis]} "
                "for as many classes"
            )
        if len(self.param.top) > 1 and not self.takes_scores:
            raise UnsupportedParameterError(f"layer '{self.name}': a second top needs compat 'bvlc', found 'wen2017'")
        return [(), bottom_shapes[0]][: max(1, len(self.param.top))]

    def forward(self, *bottoms: Tensor) -> Any:
        scores, label = bottoms[:2]
        matrix = (bottoms[2].detach() if len(bottoms) == 3 else self.matrix).to(scores)
        axis = self.axis % scores.dim() if self.takes_scores else 1
        shape = tuple(scores.shape)
        outer, classes, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        if not self.takes_scores:
            classes, inner = classes * inner, 1
        index, counts = class_labels(self, label, (outer, inner), classes, self.ignore_label)
        weights = matrix.reshape(classes, classes)[index].transpose(1, 2)
        scores = scores.reshape(outer, classes, inner)
        if not self.takes_scores:
            return -(weights * clamped_log(scores)).sum() / outer
        if counts is not None:
            weights = torch.where(counts.unsqueeze(1), weights, 0)
        divisor = normalizer(self.normalization, outer, inner, counts)
        loss, probability = _InfogainLoss.apply(scores, shadow(scores), weights, divisor)  # type: ignore[no-untyped-call]
        return (loss, probability.reshape(shape)) if len(self.param.top) > 1 else loss
