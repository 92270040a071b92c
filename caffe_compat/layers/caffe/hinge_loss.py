"""HingeLoss (hinge_loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


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
