"""BboxAccuracy of MS-CNN (bbox_accuracy_layer.cpp of zhaoweicai/mscnn).

Boxes are (item, x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.forks.mscnn.heads import as_sizes, check_classes, overlaps_by_size, statistics
from caffe_compat.layers.registry import register


@register("BboxAccuracy")
class BboxAccuracy(Layer):
    """Top 0: the mean overlap of regressed boxes with their true boxes; top 1: that of the boxes before; no gradient.

    Bottoms: offsets (R, classes * 4), boxes (R, 5) and matches (R, 6): class, x1, y1, x2, y2, overlap. Boxes of the
    background, and those that overlap by more than 0.975, do not count; -1 where none is left.
    """

    gradient = "none"
    bottoms = exactly(3)
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.mean, self.std = statistics(self)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len({shape[0] for shape in bottom_shapes}) != 1:
            raise ShapeError(f"layer '{self.name}': bottoms {bottom_shapes} must agree in the first axis")
        return [(1, 1, 1, 1)] * len(self.param.top)

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        offsets, rois, matches = (bottom.flatten(1).double().cpu().numpy() for bottom in bottoms)
        labels = matches[:, 0].astype(np.int64)
        counts = np.flatnonzero((labels > 0) & (matches[:, -1] <= 0.975))
        check_classes(self, 2, labels[counts], offsets.shape[1] // 4)
        before = as_sizes(rois[counts, 1:5])
        truth = as_sizes(matches[counts, 1:5])
        own = offsets.reshape(len(offsets), offsets.shape[1] // 4, 4)[counts, labels[counts]] * self.std + self.mean
        size = before[:, 2:] * np.exp(own[:, 2:])
        centre = own[:, :2] * before[:, 2:] + before[:, :2] + before[:, 2:] / 2
        after = np.concatenate((centre - size / 2, size), 1)
        shares = [
            [overlaps_by_size(box, true[None])[0] for box, true in zip(boxes, truth, strict=True)]
            for boxes in (after, before)
        ]
        tops = [bottoms[0].new_tensor(np.mean(each) if each else -1.0).view(1, 1, 1, 1) for each in shares]
        return tops[0] if len(self.param.top) == 1 else tuple(tops)
