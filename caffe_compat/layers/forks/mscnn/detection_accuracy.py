"""DetectionAccuracy of MS-CNN (detection_accuracy_layer.cpp of zhaoweicai/mscnn)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.fields import given
from caffe_compat.layers.forks.mscnn.heads import Head, overlaps_by_size, predicted_boxes, statistics
from caffe_compat.layers.registry import register


@register("DetectionAccuracy")
class DetectionAccuracy(Head):
    """Top 0, (1, 1, 1, 2): the share of places whose class is among the top_k, and that of foreground places.

    Top 1: the mean overlap of predicted and true boxes of foreground places. -1 stands for no such place. No gradient.
    """

    gradient = "none"
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.detection_accuracy_param
        self.ignore_label: int | None = given(param.loss_param, "ignore_label")
        self.mean, self.std = statistics(self)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_head(bottom_shapes, self.field.cls_num)
        shapes: list[Shape] = [(1, 1, 1, 2), (1, 1, 1, 1)]
        return shapes[: len(self.param.top)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        head, label = (bottom.double().cpu().numpy() for bottom in bottoms)
        classes = label[:, 0].astype(np.int64)
        index = np.minimum(classes, 1) if self.field.objectness else classes
        counts = (index != 0) | (label[:, 5] < self.field.bg_threshold)
        foreground = classes != 0
        if self.ignore_label is not None:
            counts &= index != self.ignore_label
            foreground &= classes != self.ignore_label
        scores = head[:, : self.field.cls_num]
        own = np.take_along_axis(scores, index.clip(0, self.field.cls_num - 1)[:, None], 1)
        later = np.arange(self.field.cls_num)[None, :, None, None] > index[:, None]
        right = ((scores > own) | ((scores == own) & later)).sum(1) < self.field.top_k
        shares = [right[which].mean() if which.any() else -1.0 for which in (counts, counts & (index != 0))]
        accuracy = bottoms[0].new_tensor(shares).view(1, 1, 1, 2)
        if len(self.param.top) == 1:
            return accuracy
        return accuracy, bottoms[0].new_tensor(self._overlap(head, label, foreground)).view(1, 1, 1, 1)

    def _overlap(self, head: np.ndarray, label: np.ndarray, foreground: np.ndarray) -> float:
        """The mean overlap at the places `foreground`; -1 where there is none."""
        size = (self.field.field_w, self.field.field_h)
        natural = head[:, self.field.cls_num :] * self.std[:, None, None] + self.mean[:, None, None]
        boxes = predicted_boxes(natural, self.field, size, self.field.downsample_rate).transpose(0, 2, 3, 1)[foreground]
        truth = label[:, 1:5].transpose(0, 2, 3, 1)[foreground]
        truth[:, :2] -= truth[:, 2:] / 2
        found = [overlaps_by_size(box, true[None])[0] for box, true in zip(boxes, truth, strict=True)]
        return float(np.mean(found)) if found else -1.0
