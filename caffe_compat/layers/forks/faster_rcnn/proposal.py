"""Proposal of Faster R-CNN as a layer of its own (proposal_layer.cpp of happynear/caffe-windows and PVANET's fork)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.boxes import suppressed
from caffe_compat.layers.registry import register


def anchors(base: int, ratios: list[float], scales: list[float]) -> np.ndarray:
    """The anchor boxes around place 0, float64 (ratios * scales, 4), x1, y1, x2, y2 in pixels."""
    centre = (base - 1) / 2
    rows = []
    for ratio in ratios:
        width = math.sqrt(base * base / ratio)
        for scale in scales:
            # C's cast to int after adding a half
            half = [math.trunc(side * scale - 1 + 0.5) / 2 for side in (width, width * ratio)]
            rows.append([centre - half[0], centre - half[1], centre + half[0], centre + half[1]])
    return np.array(rows).reshape(-1, 4)


def moved_anchors(around: np.ndarray, offsets: np.ndarray, stride: int, image: tuple[float, float]) -> np.ndarray:
    """The boxes (H * W * A, 4) of a map of offsets (4 * A, H, W) to the A anchors `around` its first place.

    Row by row, anchor by anchor; cut at the height and width of the image.
    """
    height, width = offsets.shape[1:]
    rows, columns = np.mgrid[:height, :width] * stride
    shifts = np.stack((columns, rows, columns, rows), -1)[:, :, None]
    boxes = (around + shifts).reshape(-1, 4)
    moves = offsets.reshape(len(around), 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
    size = boxes[:, 2:] - boxes[:, :2] + 1
    centre = boxes[:, :2] + size / 2 + moves[:, :2] * size
    half = np.exp(moves[:, 2:]) * size / 2
    ends = np.array([image[1] - 1, image[0] - 1] * 2)
    cut: np.ndarray = np.concatenate((centre - half, centre + half), 1).clip(0, ends)
    return cut


@register("Proposal")
class Proposal(Layer):
    """Regions that may hold an object: anchors moved by their offsets, less those that overlap a better one.

    Bottoms: scores (N, 2 * anchors, H, W), the foreground's behind, offsets (N, 4 * anchors, H, W), and (height, width,
    scale of height, scale of width) of the image. Boxes are cut at the image; those with a side below min_size times
    scale count with score 0. Of the pre_nms_topn best the post_nms_topn best stay that overlap none better by more than
    nms_thresh. Tops: (item, x1, y1, x2, y2) a row, and the scores. No gradient.
    """

    gradient = "none"
    bottoms = exactly(3)
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = self.field = param.proposal_param
        scales = [scale / field.base_size for scale in field.scale] if field.base_size else []
        self.anchors = anchors(field.base_size, list(field.ratio), scales) if scales else np.zeros((0, 4))
        if not len(self.anchors) or field.feat_stride < 1 or min(field.ratio, default=0) <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': proposal_param needs feat_stride, ratio and scale; found {field.feat_stride}, "
                f"{list(field.ratio)} and {list(field.scale)}"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, offsets, image = bottom_shapes
        number = len(self.anchors)
        wanted = [(scores[0], 2 * number, *scores[2:]), (scores[0], 4 * number, *scores[2:])]
        if len(scores) != 4 or [scores, offsets] != wanted or math.prod(image) < 3:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {bottom_shapes}, wanted (N, {2 * number}, H, W), (N, "
                f"{4 * number}, H, W) and the size of the image"
            )
        most = scores[0] * self.field.post_nms_topn
        return [(most, 5), (most,)][: len(self.param.top)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        scores, offsets = (bottom.double().cpu().numpy() for bottom in bottoms[:2])
        image = bottoms[2].flatten().tolist()[:4]
        found = [self._of_item(scores[item], offsets[item], [*image, image[-1]][:4]) for item in range(len(scores))]
        rows = np.concatenate([np.zeros((0, 6)), *(np.insert(each, 0, item, 1) for item, each in enumerate(found))])
        rois = bottoms[0].new_tensor(rows[:, :5])
        if len(self.param.top) == 1:
            return rois
        return rois, bottoms[0].new_tensor(rows[:, 5])

    def _of_item(self, scores: np.ndarray, offsets: np.ndarray, image: list[float]) -> np.ndarray:
        """Boxes and scores of one item that stay, best first: (K, 5)."""
        boxes = moved_anchors(self.anchors, offsets, self.field.feat_stride, (image[0], image[1]))
        least = self.field.min_size * np.array([image[3], image[2]])
        large = (boxes[:, 2:] - boxes[:, :2] + 1 >= least).all(1)
        own = scores[len(self.anchors) :].transpose(1, 2, 0).reshape(-1) * large
        best = np.argsort(-own, kind="stable")[: self.field.pre_nms_topn]
        kept = suppressed(boxes[best], own[best], self.field.nms_thresh, most=self.field.post_nms_topn, pixel=1)
        return np.concatenate((boxes[best[kept]], own[best[kept], None]), 1)
