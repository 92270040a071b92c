"""MultinomialLogisticLoss (multinomial_logistic_loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Shape
from caffe_compat.layers.function import Function
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.loss import LossLayer, rows
from caffe_compat.layers.registry import register

LOG_THRESHOLD = 1e-20  # the least probability whose logarithm the losses on given probabilities take


class _ClampedLog(Function):
    """log(max(p, 1e-20)), with gradient 1 / max(p, 1e-20) on both sides of the clamp."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor) -> Tensor:
        ctx.save_for_backward(probability)
        return probability.clamp(min=LOG_THRESHOLD).log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (probability,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] / probability.clamp(min=LOG_THRESHOLD)
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
        probability = rows(bottoms[0])
        number, classes = probability.shape
        index, _ = class_labels(self, bottoms[1], (number,), classes, None)
        return -clamped_log(probability.gather(1, index.unsqueeze(1))).sum() / number
