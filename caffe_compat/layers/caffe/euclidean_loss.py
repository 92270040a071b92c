"""EuclideanLoss (euclidean_loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from torch import Tensor

from caffe_compat.layers.loss import DifferenceLoss
from caffe_compat.layers.registry import register


@register("EuclideanLoss")
class EuclideanLoss(DifferenceLoss):
    """sum((a - b)^2) / (2 N), N the size of axis 0."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, b = bottoms
        return (a - b.reshape(a.shape)).square().sum() / (2 * a.shape[0])
