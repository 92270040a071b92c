"""YoloSeg (yolo_seg.cpp of eric612/MobileNet-YOLO, its CPU path)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caffe_compat.layers.base import Count, Shape
from caffe_compat.layers.forks.yolo.heads import SquaredDeltas
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


@register("YoloSeg")
class YoloSeg(LossLayer):
    """Segments by a sigmoid of each channel: deltas object_scale * (sigmoid(x) - t) for labels t.

    A third bottom, the number of pixels of each item and class, weighs the pixels of a class with 2 - the share of that
    number in the number of all others.
    """

    gradient = "own"
    bottoms = Count(2, 3)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_equal_counts(bottom_shapes)
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, labels = bottoms[0], bottoms[1].detach().reshape(bottoms[0].shape)
        deltas = torch.sigmoid(x.detach()) - labels
        if len(bottoms) > 2:
            counts = bottoms[2].detach().reshape(-1, x.shape[1])
            pixels = math.prod(x.shape[2:])
            share = counts.sum(0) / (pixels - counts).sum(0)
            weight = torch.where(labels > 0.5, (2 - share).view(1, -1, 1, 1), 1)
            deltas = deltas * weight
        deltas = deltas * self.param.yolo_seg_param.object_scale
        loss: Tensor = SquaredDeltas.apply(x, deltas, deltas)  # type: ignore[no-untyped-call]
        return loss
