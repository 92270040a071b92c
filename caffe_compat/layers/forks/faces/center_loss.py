"""CenterLoss (center_loss_layer.cpp of ydwen/caffe-face)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.function import Function
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


class _Centred(Function):
    """sum((x - c)^2) / (2 M); a centre's gradient is the mean of its own c - x with one more in the divisor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, centres: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(x, centres, index)
        return (x - centres[index]).square().sum() / (2 * len(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, centres, index = ctx.saved_tensors
        distance = x - centres[index]
        sums = distance.new_zeros(centres.shape).index_add_(0, index, -distance)
        # not bincount, of which torch.compile cannot say the size
        counts = index.new_zeros(len(centres)).index_add_(0, index, torch.ones_like(index)).to(distance.dtype)
        return distance * (gradients[0] / len(distance)), sums / (counts + 1)[:, None], None


@register("CenterLoss")
class CenterLoss(LossLayer):
    """sum((x - centre of its class)^2) / (2 N); blob 0 holds the centres, (num_output, features).

    The gradient of a centre is sum(centre - x) / (count + 1) over the items of its class, whatever the loss_weight.
    """

    gradient = "own"

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        refuse_other_fields(
            self.name, "center_loss_param", param.center_loss_param, ("num_output", "center_filler", "axis")
        )

    def setup(self, bottom_shapes: list[Shape]) -> None:
        field = self.param.center_loss_param
        axis = self.canonical_axis(field.axis, bottom_shapes[0])
        self.add_blob((field.num_output, math.prod(bottom_shapes[0][axis:])), field.center_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        check_label_count(self, bottom_shapes[1], bottom_shapes[0][:1])
        if math.prod(bottom_shapes[0][1:]) != self.blob_shapes[0][1]:
            raise ShapeError(f"layer '{self.name}': bottom {bottom_shapes[0]} has other features than its centres")
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        x = bottoms[0].flatten(1)
        index, _ = class_labels(self, bottoms[1], (len(x),), len(self.blob(0)), None)
        loss: Tensor = _Centred.apply(x, self.blob(0), index)  # type: ignore[no-untyped-call]
        return loss
