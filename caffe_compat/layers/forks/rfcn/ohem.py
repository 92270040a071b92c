"""BoxAnnotatorOHEM, SoftmaxWithLossOHEM, SmoothL1LossOHEM of R-FCN (daijifeng001/caffe-rfcn): hard example mining.

Source: the layers of these names in daijifeng001/caffe-rfcn and makefile/frcnn (their GPU path; they have no other).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.caffe.softmax_with_loss import SoftmaxWithLoss
from caffe_compat.layers.labels import class_labels
from caffe_compat.layers.loss import DifferenceLoss, normalization, normalizer
from caffe_compat.layers.registry import register


@register("BoxAnnotatorOHEM")
class BoxAnnotatorOHEM(Layer):
    """Labels and box weights of the roi_per_img regions with the highest loss of each image; no gradient.

    Bottoms: regions (R, 5, ...), losses (R, 1, ...), labels (R, 1, ...) and box weights (R, K, ...). Tops: the labels,
    ignore_label where a region does not count, and the weights, 0 there.
    """

    gradient = "none"
    bottoms = exactly(4)
    tops = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.regions: int = param.box_annotator_ohem_param.roi_per_img
        self.ignore_label: int = param.box_annotator_ohem_param.ignore_label
        if self.regions < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': box_annotator_ohem_param.roi_per_img is 0; it must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        rois, losses, labels, weights = bottom_shapes
        plane = tuple(rois[2:])
        number = rois[0] * math.prod(plane)
        if rois[1:2] != (5,) or {math.prod(losses), math.prod(labels)} != {number} or weights[:1] != rois[:1]:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {rois}, {losses}, {labels} and {weights}, wanted (R, 5), R, "
                "R and (R, K)"
            )
        plane = plane or (1, 1)
        return [(rois[0], 1, *plane), (rois[0], math.prod(weights[1:]) // math.prod(plane), *plane)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, Tensor]:
        shapes = self.top_shapes([tuple(bottom.shape) for bottom in bottoms])
        rois, losses, labels, weights = bottoms
        images = rois[:, 0].flatten().long()
        order = losses.reshape(-1).argsort(descending=True, stable=True)
        counts = torch.zeros(order.shape, dtype=torch.bool, device=rois.device)
        for image in set(images.tolist()):
            counts[order[images[order] == image][: self.regions]] = True
        counts = counts.view(shapes[0])
        kept = torch.where(counts, labels.reshape(shapes[0]), float(self.ignore_label))
        return kept, torch.where(counts, weights.reshape(shapes[1]), 0)


@register("SoftmaxWithLossOHEM")
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """SoftmaxWithLoss with the loss of every place, 0 where ignored, as a third top, through which nothing flows."""

    tops = Count(1, 3)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = super().top_shapes(bottom_shapes)
        return [*shapes, bottom_shapes[1]] if len(self.param.top) > 2 else shapes

    def forward(self, *bottoms: Tensor) -> Any:
        found = super().forward(*bottoms)
        if len(self.param.top) < 3:
            return found
        scores, label = bottoms
        axis = self.axis % scores.dim()
        index, counts = class_labels(
            self, label, (*scores.shape[:axis], *scores.shape[axis + 1 :]), scores.shape[axis], self.ignore_label
        )
        losses = -functional.log_softmax(scores.detach(), axis).gather(axis, index.unsqueeze(axis)).squeeze(axis)
        if counts is not None:
            losses = torch.where(counts, losses, 0)
        return (*found, losses.reshape(label.shape))


@register("SmoothL1LossOHEM")
class SmoothL1LossOHEM(DifferenceLoss):
    """sum(f(w (a - b))) / normalizer, f(d) = 0.5 d^2 where |d| < 1, else |d| - 0.5.

    normalizer: as loss_param says, VALID by default and then one for each place of the plane and the batch, or
    pre_fixed_normalizer. Top 1: the sum over the channels of each place, (N, 1, ...), through which nothing flows.
    """

    bottoms = Count(2, 3)
    tops = Count(1, 2)
    fork_fields = frozenset({"loss_param.pre_fixed_normalizer"})

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for weight in bottom_shapes[2:]:
            self.check_equal_counts([bottom_shapes[0], weight])
        shape = bottom_shapes[0]
        return [*super().top_shapes(bottom_shapes), (shape[0], 1, *(shape[2:] or (1, 1)))][: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> Any:
        a, b, *weights = (bottom.reshape(bottoms[0].shape) for bottom in bottoms)
        difference = a - b
        if weights:
            difference = weights[0].detach() * difference
        losses = functional.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none")
        rule = normalization(self.param.loss_param, "VALID")
        fixed = self.param.loss_param.pre_fixed_normalizer
        loss = losses.sum() / normalizer(rule, a.shape[0], math.prod(a.shape[2:]), None, fixed)
        if len(self.param.top) == 1:
            return loss
        place = (a.shape[0], 1, *(a.shape[2:] or (1, 1)))
        return loss, losses.detach().flatten(2).sum(1).reshape(place) if a.dim() > 1 else losses.detach().view(place)
