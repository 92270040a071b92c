"""BoxOutput of MS-CNN (box_output_layer.cpp of zhaoweicai/mscnn).

Boxes are (item, x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.forks.mscnn.heads import overlaps_by_size, predicted_boxes, statistics
from caffe_compat.layers.registry import register


@register("BoxOutput")
class BoxOutput(Layer):
    """The boxes of all heads that score fg_thr or more and overlap no better one by more than iou_thr; no gradient.

    Bottoms: heads (N, classes + 4, H, W). A score is that of the best class less that of the background. Tops: boxes
    (K, 5, 1, 1), and with the score behind (K, 6, 1, 1). Without any box: one of (0, 1, 1, 10, 10), and zeros.
    """

    gradient = "none"
    bottoms = Count(1)
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.box_output_param
        self.mean, self.std = statistics(self)
        counts = [len(getattr(self.field, name)) for name in ("field_w", "field_h", "downsample_rate")]
        if set(counts) != {len(param.bottom)}:
            raise UnsupportedParameterError(
                f"layer '{self.name}': box_output_param has {counts[0]} field_w, {counts[1]} field_h and {counts[2]} "
                f"downsample_rate; wanted {len(param.bottom)} of each, one a bottom"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if any(len(shape) != 4 or shape[:2] != bottom_shapes[0][:2] or shape[1] < 6 for shape in bottom_shapes):
            raise ShapeError(f"layer '{self.name}': bottoms {bottom_shapes} must all be (N, classes + 4, H, W)")
        shapes: list[Shape] = [(1, 5, 1, 1), (1, 6, 1, 1)]
        return shapes[: len(self.param.top)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        found = [self._candidates(level, bottom) for level, bottom in enumerate(bottoms)]
        kept = [self._survivors([rows[item] for rows in found]) for item in range(bottoms[0].shape[0])]
        rows = np.concatenate([np.zeros((0, 6)), *(np.insert(each, 0, item, 1) for item, each in enumerate(kept))])
        corners = np.concatenate((rows[:, :3], rows[:, 1:3] + rows[:, 3:5], rows[:, 5:]), 1)
        boxes = corners[:, :5] if len(corners) else np.array([[0, 1, 1, 10, 10]])
        scored = corners if len(corners) else np.zeros((1, 6))
        tops = [bottoms[0].new_tensor(each)[:, :, None, None] for each in (boxes, scored)]
        return tops[0] if len(self.param.top) == 1 else tuple(tops)

    def _candidates(self, level: int, bottom: Tensor) -> list[np.ndarray]:
        """For each item its boxes of one head, (K, 5): x, y, width, height within the image, and score."""
        head, field = bottom.double().cpu().numpy(), self.field
        rate, classes = field.downsample_rate[level], head.shape[1] - 4
        scores = head[:, 1:classes].max(1) - head[:, 0]
        natural = head[:, classes:] * self.std[:, None, None] + self.mean[:, None, None]
        boxes = predicted_boxes(natural, field, (field.field_w[level], field.field_h[level]), rate)
        boxes[:, :2] = boxes[:, :2].clip(0)
        extent = np.array([head.shape[3] * rate, head.shape[2] * rate])[:, None, None]
        boxes[:, 2:] = np.minimum(boxes[:, 2:], extent - boxes[:, :2])
        counts = (scores >= field.fg_thr) & (boxes[:, 2:] >= field.min_size).all(1)
        rows = np.concatenate((boxes, scores[:, None]), 1).transpose(0, 2, 3, 1)
        return [item[which] for item, which in zip(rows, counts, strict=True)]

    def _survivors(self, found: list[np.ndarray]) -> np.ndarray:
        """Of the boxes of one item those that stay, best first: (K, 5)."""
        rows = np.concatenate(found)
        rows = rows[np.argsort(rows[:, 4], kind="stable")[::-1]]  # of equal scores the later one first
        if self.field.max_nms_num:
            rows = rows[: self.field.max_nms_num]
        alive = np.ones(len(rows), bool)
        for index, row in enumerate(rows):
            if alive[index]:
                shares = overlaps_by_size(row[:4], rows[index + 1 :, :4], self.field.nms_type)
                alive[index + 1 :] &= shares <= np.float32(self.field.iou_thr)
        return rows[alive][: self.field.max_post_nms_num or None]
