"""FocalLoss (focal_loss_layer.cpp of makefile/frcnn and happynear/caffe-windows, type ORIGIN)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context
from caffe_compat.layers.caffe.softmax_with_loss import SoftmaxWithLoss
from caffe_compat.layers.fields import enum_name, refuse_other_fields
from caffe_compat.layers.function import Function, is_differentiated
from caffe_compat.layers.labels import class_labels
from caffe_compat.layers.loss import FLT_MIN, normalizer
from caffe_compat.layers.registry import register

_LEAST = 1e-10  # what 1 - p counts as at least, in the gradient


class _Focal(Function):
    """-alpha (1 - p)^gamma max(log p, log FLT_MIN) of log p, with a gradient that passes below that clamp."""

    @staticmethod
    def forward(ctx: Any, logs: Tensor, alpha: float, gamma: float) -> Tensor:
        share, clamped, weight = _parts(logs, alpha, gamma)
        ctx.alpha, ctx.gamma = alpha, gamma
        ctx.save_for_backward(share, clamped, weight, logs)
        return -weight * clamped

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        share, clamped, weight, logs = ctx.saved_tensors
        if is_differentiated(ctx):
            share, clamped, weight = _parts(logs, ctx.alpha, ctx.gamma)
        slope = weight - ctx.gamma * weight / (1 - share).clamp(min=_LEAST) * clamped * share
        return -gradients[0] * slope, None, None


def _parts(logs: Tensor, alpha: float, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """p, its logarithm clamped, and alpha (1 - p)^gamma."""
    share = logs.exp()
    return share, logs.clamp(min=math.log(FLT_MIN)), alpha * (1 - share).pow(gamma)


@register("FocalLoss")
class FocalLoss(SoftmaxWithLoss):
    """-sum(alpha (1 - p)^gamma log(max(p, FLT_MIN))) / normalizer, p the softmax probability of each label.

    Bottoms and tops as of SoftmaxWithLoss.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.focal_loss_param
        refuse_other_fields(self.name, "focal_loss_param", field, ("gamma", "alpha", "beta", "type"))
        self.alpha: float = field.alpha
        self.gamma: float = field.gamma
        if enum_name(field, "type") != "ORIGIN" or self.alpha <= 0 or self.gamma < 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': focal_loss_param needs type ORIGIN, a positive alpha and no negative gamma; "
                f"found {enum_name(field, 'type')}, {self.alpha:g} and {self.gamma:g}"
            )

    def forward(self, *bottoms: Tensor) -> Any:
        scores, label = bottoms
        axis = self.axis % scores.dim()
        shape = tuple(scores.shape)
        index, counts = class_labels(self, label, shape[:axis] + shape[axis + 1 :], shape[axis], self.ignore_label)
        logs = functional.log_softmax(scores, axis)
        own = logs.gather(axis, index.unsqueeze(axis)).squeeze(axis)
        losses: Tensor = _Focal.apply(own, self.alpha, self.gamma)  # type: ignore[no-untyped-call]
        if counts is not None:
            losses = torch.where(counts, losses, 0)
        fixed = self.param.loss_param.pre_fixed_normalizer
        divisor = normalizer(self.normalization, math.prod(shape[:axis]), math.prod(shape[axis + 1 :]), counts, fixed)
        loss = losses.sum() / divisor
        return (loss, logs.detach().exp()) if len(self.param.top) > 1 else loss
