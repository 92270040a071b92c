"""SegAccuracy (seg_accuracy_layer.cpp of DeepLab and PSPNet)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.registry import register


@register("SegAccuracy")
class SegAccuracy(Layer):
    """Top (1, 1, 1, 3): the share of right pixels, the mean recall, the mean intersection over union; no gradient.

    Bottoms: scores (N, C, H, W) and labels (N, 1, H, W). ignore_label: labels that do not count. reset false: pixels of
    all batches so far count. A class without pixels has no recall, and an intersection over union of 1. Of equal scores
    the higher class wins.
    """

    gradient = "none"
    bottoms = exactly(2)
    remembers = ("counts",)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.ignored = tuple(param.seg_accuracy_param.ignore_label)
        self.resets: bool = param.seg_accuracy_param.reset
        self.counts: Tensor | None = None

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = bottom_shapes
        if len(scores) != 4 or labels != (scores[0], 1, *scores[2:]):
            raise ShapeError(f"layer '{self.name}': bottoms {scores} and {labels}, wanted (N, C, H, W), (N, 1, H, W)")
        return [(1, 1, 1, 3)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        scores, labels = bottoms[0], bottoms[1][:, 0].long()
        classes = scores.shape[1]
        counted = torch.ones_like(labels, dtype=torch.bool)
        for label in self.ignored:
            counted &= labels != label
        wanted = labels[counted]
        if wanted.numel() and (wanted.min() < 0 or wanted.max() >= classes):
            raise DataError(f"layer '{self.name}': labels hold {int(wanted.max())}, wanted 0 to {classes - 1}")
        found = (classes - 1 - scores.flip(1).argmax(1))[counted]
        pairs = torch.bincount(wanted * classes + found, minlength=classes * classes).view(classes, classes).double()
        if self.resets or self.counts is None:
            self.counts = torch.zeros_like(pairs)
        self.counts += pairs
        right, rows, columns = self.counts.diag(), self.counts.sum(1), self.counts.sum(0)
        present = rows > 0
        recall = (right[present] / rows[present]).mean() if present.any() else right.new_zeros(())
        union = rows + columns - right
        overlap = torch.where(union == right, 1.0, right / union.clamp(min=1)).mean()
        accuracy = right.sum() / self.counts.sum().clamp(min=1)
        return torch.stack((accuracy, recall, overlap)).to(scores.dtype).view(1, 1, 1, 3)
