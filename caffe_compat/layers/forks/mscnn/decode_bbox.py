"""DecodeBBox of MS-CNN (decode_bbox_layer.cpp of zhaoweicai/mscnn).

Boxes are (item, x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.forks.mscnn.heads import statistics
from caffe_compat.layers.registry import register


@register("DecodeBBox")
class DecodeBBox(Layer):
    """The boxes of bottom 1, (R, 5), moved by the offsets of class 1 in bottom 0, (R, 8); no gradient.

    In TRAIN boxes turned inside out are left out, and with matches (R, 6) as bottom 2 those that overlap their true box
    by gt_iou_thr or more.
    """

    gradient = "none"
    bottoms = Count(2, 3)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.mean, self.std = statistics(self)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        offsets, boxes = bottom_shapes[:2]
        if offsets[1:2] != (8,) or boxes[1:2] != (5,) or len({shape[0] for shape in bottom_shapes}) != 1:
            raise ShapeError(f"layer '{self.name}': bottoms {bottom_shapes}, wanted (R, 8), (R, 5) and (R, 6)")
        return [boxes]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        offsets, boxes, *matches = (bottom.flatten(1).double().cpu().numpy() for bottom in bottoms)
        own = offsets[:, 4:] * self.std + self.mean
        size = boxes[:, 3:] - boxes[:, 1:3] + 1
        centre = own[:, :2] * size + (boxes[:, 1:3] + boxes[:, 3:]) / 2
        extent = size * np.exp(own[:, 2:])
        corner = centre - (extent - 1) / 2
        moved = np.concatenate((boxes[:, :1], corner, corner + extent - 1), 1)
        kept: Any = np.ones(len(moved), bool)
        if self.context.phase == "TRAIN":
            kept = (moved[:, 1:3] <= moved[:, 3:]).all(1)
            if matches:
                kept &= matches[0][:, -1] < np.float32(self.param.decode_bbox_param.gt_iou_thr)
        if not kept.any():
            raise DataError(f"layer '{self.name}': no box of '{self.param.bottom[1]}' is left")
        return bottoms[1].new_tensor(moved[kept])[:, :, None, None]
