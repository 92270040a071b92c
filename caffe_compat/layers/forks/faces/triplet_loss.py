"""TripletLoss (triplet_loss_layer.cpp of happynear/caffe-windows)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Shape, exactly
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register

_NO_EXCESS = 1e-9  # a TripletLoss takes its triples below this for 0 in the gradient


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
