"""What every loss has in common, and the losses of distances and margins: Euclidean, Hinge, Contrastive, (Smooth)L1.

Source: loss_layer.cpp, euclidean_loss_layer.cpp, hinge_loss_layer.cpp, contrastive_loss_layer.cpp of Caffe 1.0;
L1Loss of NVIDIA's Caffe, SmoothL1Loss of Fast R-CNN's, TripletLoss of happynear's.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.fields import enum_name, refuse_other_fields
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.registry import register

_NO_EXCESS = 1e-9  # a TripletLoss takes its triples below this for 0 in the gradient


class LossLayer(Layer):
    """A layer whose first top is a scalar loss, with loss_weight 1 unless the prototxt says otherwise."""

    bottoms = exactly(2)
    default_loss_weight = 1.0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if bottom_shapes[0][:1] != bottom_shapes[1][:1]:
            raise ShapeError(
                f"layer '{self.name}': bottoms '{self.param.bottom[0]}' {bottom_shapes[0]} and "
                f"'{self.param.bottom[1]}' {bottom_shapes[1]} must agree in the first axis"
            )
        return [()]

    def check_equal_counts(self, bottom_shapes: list[Shape]) -> None:
        """ShapeError unless bottoms 0 and 1 hold equally many values."""
        if math.prod(bottom_shapes[0]) != math.prod(bottom_shapes[1]):
            raise ShapeError(
                f"layer '{self.name}': bottoms '{self.param.bottom[0]}' {bottom_shapes[0]} and "
                f"'{self.param.bottom[1]}' {bottom_shapes[1]} must hold equally many values"
            )


class DifferenceLoss(LossLayer):
    """A loss of the differences of two bottoms with equally many values; both get gradients."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_equal_counts(bottom_shapes)
        return super().top_shapes(bottom_shapes)


@register("EuclideanLoss")
class EuclideanLoss(DifferenceLoss):
    """sum((a - b)^2) / (2 N), N the size of axis 0."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, b = bottoms
        return (a - b.reshape(a.shape)).square().sum() / (2 * a.shape[0])


@register("HingeLoss")
class HingeLoss(LossLayer):
    """sum(max(0, 1 - t * x)^norm) / N with t = 1 for the labelled class and -1 for all others; norm L1 or L2.

    A margin of exactly 0 has gradient 0.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.norm = enum_name(param.hinge_loss_param, "norm")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        check_label_count(self, bottom_shapes[1], bottom_shapes[0][:1])
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        x = bottoms[0].flatten(1)
        index, _ = class_labels(self, bottoms[1], tuple(x.shape[:1]), x.shape[1], None)
        sign = torch.ones_like(x).scatter_(1, index.unsqueeze(1), -1.0)
        margins = functional.relu(1 + sign * x)
        return (margins if self.norm == "L1" else margins.square()).sum() / x.shape[0]


class _Contrast(torch.autograd.Function):
    """The loss of pairs by difference a - b; the gradient of dissimilar pairs divides by d + 1e-4, not by d."""

    @staticmethod
    def forward(ctx: Any, difference: Tensor, similar: Tensor, margin: float, legacy: bool) -> Tensor:
        squared = difference.square().sum(1, keepdim=True)
        distance = squared if legacy else squared.sqrt()
        gap = (margin - distance).clamp(min=0)
        if legacy:
            apart, factor = gap, -(gap > 0).to(gap.dtype)
        else:
            apart, factor = gap.square(), -gap / (distance + 1e-4)
        ctx.save_for_backward(difference, torch.where(similar, 1.0, factor))
        number: int = difference.shape[0]
        ctx.number = number
        return torch.where(similar, squared, apart).sum() / (2 * number)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        difference, factor = ctx.saved_tensors
        return difference * factor * (gradients[0] / ctx.number), None, None, None


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
        return contrast(a.flatten(1) - b.flatten(1), same, self.margin, self.legacy_version)


@register("TripletLoss")
class TripletLoss(LossLayer):
    """sum(max(0, margin + |a - p|^2 - |a - n|^2)) / (2 N) (triplet_loss_layer.cpp of happynear/caffe-windows).

    Bottoms: anchors, positives and negatives, each (N, C) or (N, C, 1, 1). A triple below 1e-9 gets no gradient.
    """

    bottoms = exactly(3)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        first = bottom_shapes[0]
        if any(len(s) < 2 or s[:2] != first[:2] or math.prod(s[2:]) != 1 for s in bottom_shapes):
            raise ShapeError(
                f"layer '{self.name}': bottoms {bottom_shapes} must all be (N, C) or (N, C, 1, 1), of one N and C"
            )
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, p, n = (bottom.flatten(1) for bottom in bottoms)
        excess = self.param.triplet_loss_param.margin + (a - p).square().sum(1) - (a - n).square().sum(1)
        return torch.where(excess >= _NO_EXCESS, excess, excess.detach().clamp(min=0)).sum() / (2 * len(a))


@register("L1Loss")
class L1Loss(DifferenceLoss):
    """sum(|a - b|) / N, N the size of axis 0 (l1_loss_layer.cpp of NVIDIA's fork); the gradient at 0 is 0."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        refuse_other_fields(self.name, "l1_loss_param", param.l1_loss_param, ())

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, b = bottoms
        return (a - b.reshape(a.shape)).abs().sum() / a.shape[0]


@register("SmoothL1Loss")
class SmoothL1Loss(DifferenceLoss):
    """sum(w_out f(w_in (a - b))) / N (smooth_L1_loss_layer of Fast R-CNN; with three bottoms SSD's, without w_out).

    f(d) = 0.5 (sigma d)^2 where |d| < 1 / sigma^2, else |d| - 0.5 / sigma^2. Bottoms: a, b, and if given w_in and
    w_out, which get no gradient.
    """

    bottoms = Count(2, 4)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.sigma: float = param.smooth_l1_loss_param.sigma
        if self.sigma <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': smooth_l1_loss_param.sigma is {self.sigma:g}; it must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for weight in bottom_shapes[2:]:
            self.check_equal_counts([bottom_shapes[0], weight])
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, b, *weights = (bottom.reshape(bottoms[0].shape) for bottom in bottoms)
        difference = a - b
        if weights:
            difference = weights[0].detach() * difference
        losses = functional.smooth_l1_loss(
            difference, torch.zeros_like(difference), reduction="none", beta=1 / self.sigma**2
        )
        if len(weights) == 2:
            losses = weights[1].detach() * losses
        return losses.sum() / a.shape[0]
