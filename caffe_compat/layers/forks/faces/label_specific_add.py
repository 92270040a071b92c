"""LabelSpecificAdd of happynear/caffe-windows (label_specific_add.cpp): the margin of AM-Softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.registry import register


@register("LabelSpecificAdd")
class LabelSpecificAdd(Layer):
    """Scores (N, classes), `bias` added to each label's own where that is above -bias; the gradient passes as is.

    With bias_base, bias = base + (1 + bias_gamma * iteration)^bias_power - 1, between bias_min and bias_max, the
    iteration counted up at each forward of TRAIN and not kept in snapshots. In TEST the scores stay as they are, with
    transform_test too, which the fork reads in TRAIN alone. A second top has the bias (1,); in TEST it is 0.
    """

    bottoms = exactly(2)
    tops = Count(1, 2)
    remembers = ("iteration",)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.label_specific_add_param
        self.iteration: int = self.field.iteration

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        check_label_count(self, bottom_shapes[1], bottom_shapes[0][:1])
        shapes: list[Shape] = [bottom_shapes[0], (1,)]
        return shapes[: max(1, len(self.param.top))]

    def next_bias(self) -> float:
        """The bias of this forward of TRAIN."""
        field = self.field
        if not field.HasField("bias_base"):
            return float(field.bias)
        bias = field.bias_base + (1 + field.bias_gamma * self.iteration) ** field.bias_power - 1
        self.iteration += 1
        return float(min(max(bias, field.bias_min), field.bias_max))

    def forward(self, *bottoms: Tensor) -> Any:
        scores, label = bottoms
        bias = self.next_bias() if self.context.phase == "TRAIN" else 0.0
        if bias:
            rows = scores.flatten(1)
            index, _ = class_labels(self, label, (len(rows),), rows.shape[1], None)
            own = rows.detach().gather(1, index[:, None])
            added = torch.zeros_like(rows).scatter(
                1, index[:, None], torch.where(own > -bias, bias, 0.0).to(rows.dtype)
            )
            scores = (rows + added).view(scores.shape)
        return (scores, scores.new_full((1,), bias)) if len(self.param.top) > 1 else scores
