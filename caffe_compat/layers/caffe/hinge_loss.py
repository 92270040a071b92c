"""HingeLoss (hinge_loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.loss import LossLayer, rows
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

    def signs(self, x: Tensor, labels: Tensor) -> Tensor:
        """-1 for the labelled class of each row of x (N, classes), 1 for all others."""
        index, _ = class_labels(self, labels, tuple(x.shape[:1]), x.shape[1], None)
        return torch.ones_like(x).scatter_(1, index.unsqueeze(1), -1.0)

    def margins(self, x: Tensor, labels: Tensor) -> Tensor:
        """max(0, 1 - t * x), (N, classes)."""
        x = rows(x)
        return functional.relu(1 + self.signs(x, labels) * x)

    def total(self, margins: Tensor) -> Tensor:
        """The loss of these margins."""
        return (margins if self.norm == "L1" else margins.square()).sum() / margins.shape[0]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return self.total(self.margins(*bottoms))
