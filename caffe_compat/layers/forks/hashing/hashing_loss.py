"""HashingLoss (hashing_loss_layer.cpp of leetonfreestyle/DMSH), built for its shapes."""

from __future__ import annotations

from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register
from caffe_compat.layers.shapes_only import ShapesOnly


@register("HashingLoss")
class HashingLoss(ShapesOnly, LossLayer):
    """The loss of pairs drawn from a batch by their labels in common (leetonfreestyle/DMSH)."""

    reason = "its fork leaves out pairs by random numbers of its own"
