"""LabelsequenceAccuracy (labelsequence_accuracy_layer.cpp of xmfbit/warpctc-caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.registry import register


@register("LabelsequenceAccuracy")
class LabelsequenceAccuracy(Layer):
    """The share of N streams whose best classes, less repetitions and blanks, are their labels, less blanks.

    Bottoms: scores (N, T, classes), the first of the best where several are, and labels (N, L). No gradient.
    """

    gradient = "none"
    bottoms = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.blank: int = param.labelsequence_accuracy_param.blank_label

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = bottom_shapes
        if len(scores) != 3 or len(labels) < 2 or labels[0] != scores[0]:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {scores} and {labels}, wanted scores (N, T, classes) and "
                "labels (N, L)"
            )
        self.need_items(bottom_shapes)
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        scores, labels = (bottom.detach().cpu().numpy() for bottom in bottoms)
        right = 0
        for best, row in zip(scores.argmax(2).tolist(), labels.reshape(len(labels), -1).tolist(), strict=True):
            before = [self.blank, *best]
            found = [cls for cls, last in zip(best, before, strict=False) if cls not in (last, self.blank)]
            right += found == [int(label) for label in row if label != self.blank]
        return bottoms[0].new_tensor(right / len(labels))
