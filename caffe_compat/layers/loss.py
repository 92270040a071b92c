"""What losses have in common: LossLayer, DifferenceLoss, what a loss is divided by (loss_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.fields import enum_name


class LossLayer(Layer):
    """A layer whose first top is a scalar loss, with loss_weight 1 unless the prototxt says otherwise."""

    bottoms = exactly(2)
    default_loss_weight = 1.0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for name, shape in zip(self.param.bottom[:2], bottom_shapes, strict=False):
            if not shape:
                raise ShapeError(
                    f"layer '{self.name}': bottom '{name}' is one value without an axis; a loss is of the items along "
                    "axis 0"
                )
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


def rows(values: Tensor) -> Tensor:
    """(N, values an item), of a tensor of one axis too, whose items have one value each."""
    return values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)


class DifferenceLoss(LossLayer):
    """A loss of the differences of two bottoms with equally many values; both get gradients."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        tops = super().top_shapes(bottom_shapes)
        self.check_equal_counts(bottom_shapes)
        return tops


FLT_MIN = 2.0**-126  # the smallest normal float32: the least probability whose logarithm a SoftmaxWithLoss takes


def normalization(loss_param: Any, default: str) -> str:
    """FULL, VALID, BATCH_SIZE, NONE or PRE_FIXED; the deprecated `normalize` speaks only where that does not."""
    if loss_param.HasField("normalization"):
        return enum_name(loss_param, "normalization")
    if loss_param.HasField("normalize"):
        return "VALID" if loss_param.normalize else "BATCH_SIZE"
    return default


def normalizer(rule: str, outer: int, inner: int, counts: Tensor | None, fixed: float = 1) -> Tensor | float:
    """What a loss over outer * inner places is divided by: at least 1, so that an all-ignored batch gives 0.

    counts: where labels are not ignored, or None when none is. fixed: what PRE_FIXED (R-FCN's fork) divides by.
    """
    if rule == "PRE_FIXED":
        return max(1.0, fixed)
    if rule == "VALID" and counts is not None:
        return counts.sum().clamp(min=1)
    return max(1, {"FULL": outer * inner, "VALID": outer * inner, "BATCH_SIZE": outer, "NONE": 1}[rule])
