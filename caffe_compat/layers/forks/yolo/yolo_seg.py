"""YoloSeg (yolo_seg.cpp of eric612/MobileNet-YOLO, its CPU path)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.base import Count, Shape
from caffe_compat.layers.function import Function
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


class _SquaredDeltas(Function):
    """sum(deltas^2) / N, whose gradient is deltas / N."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, labels: Tensor, weight: Tensor | None, scale: float) -> Tensor:
        ctx.scale = scale
        ctx.save_for_backward(x, labels, weight)
        return _deltas(x, labels, weight, scale).square().sum() / x.shape[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, labels, weight = ctx.saved_tensors
        return _deltas(x, labels, weight, ctx.scale) * (gradients[0] / x.shape[0]), None, None, None


def _deltas(x: Tensor, labels: Tensor, weight: Tensor | None, scale: float) -> Tensor:
    deltas = torch.sigmoid(x) - labels
    return (deltas if weight is None else deltas * weight) * scale


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
        weight = None
        if len(bottoms) > 2:
            counts = bottoms[2].detach().reshape(-1, x.shape[1])
            pixels = math.prod(x.shape[2:])
            share = counts.sum(0) / (pixels - counts).sum(0)
            weight = torch.where(labels > 0.5, (2 - share).view(1, -1, 1, 1), 1)
        scale = self.param.yolo_seg_param.object_scale
        loss: Tensor = _SquaredDeltas.apply(x, labels, weight, scale)  # type: ignore[no-untyped-call]
        return loss
