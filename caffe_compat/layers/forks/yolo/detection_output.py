"""YOLO's detections: YoloDetectionOutput (version 2) and Yolov3DetectionOutput of eric612/MobileNet-YOLO."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.boxes import overlaps
from caffe_compat.layers.registry import register


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    result: np.ndarray = np.exp(-np.logaddexp(0, -values))
    return result


def region_boxes(head: np.ndarray, biases: np.ndarray, cells: tuple[float, float]) -> np.ndarray:
    """Boxes (..., 4, H, W) x, y, width, height in fractions of the image, x and y of the middle.

    head: (..., 4, H, W), x and y already between 0 and 1. biases: (..., 2) anchor sizes, which exp(w) and exp(h) of the
    head scale; `cells` is the width and height of the image in the units of the anchors.
    """
    height, width = head.shape[-2:]
    rows, columns = np.mgrid[:height, :width]
    x, y = (columns + head[..., 0, :, :]) / width, (rows + head[..., 1, :, :]) / height
    w, h = (np.exp(head[..., 2 + axis, :, :]) * biases[..., axis, None, None] / cells[axis] for axis in (0, 1))
    return np.stack((x, y, w, h), -3)


class DetectionHeads(Layer):
    """Boxes of all heads whose score is high enough, less those that overlap a better one by nms_threshold or more.

    Top (1, 1, K, 7), a row (0, class, score, xmin, ymin, xmax, ymax), class counted from 1, in fractions of the image;
    boxes of all items and classes compete, as in the fork, and the item is always 0. Without any: one row of -1 an
    item, its number first. No gradient.
    """

    bottoms = Count(1)

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        found = [self.candidates(level, bottom.double().cpu().numpy()) for level, bottom in enumerate(bottoms)]
        rows = np.concatenate(found)
        rows = rows[np.argsort(-rows[:, 1], kind="stable")]
        corners = np.concatenate((rows[:, 2:4] - rows[:, 4:] / 2, rows[:, 2:4] + rows[:, 4:] / 2), 1)
        kept = _thinned(corners, self.nms_threshold)
        if not kept:
            number = bottoms[0].shape[0]
            nothing = bottoms[0].new_full((number, 7), -1.0)
            nothing[:, 0] = torch.arange(number)
            return nothing[None, None]
        table = np.concatenate((np.zeros((len(kept), 1)), rows[kept, :1] + 1, rows[kept, 1:2], corners[kept]), 1)
        return bottoms[0].new_tensor(table)[None, None]

    nms_threshold: float

    def candidates(self, level: int, head: np.ndarray) -> np.ndarray:
        """The boxes of one head that count: (K, 6), class, score, x, y, width, height."""
        raise NotImplementedError

    def check_channels(self, bottom_shapes: list[Shape], wanted: int) -> list[Shape]:
        for shape in bottom_shapes:
            if len(shape) != 4 or shape[1] != wanted:
                raise ShapeError(f"layer '{self.name}': a bottom has shape {shape}, wanted (N, {wanted}, H, W)")
        return [(1, 1, 1, 7)]


def _thinned(boxes: np.ndarray, threshold: float) -> list[int]:
    """The boxes, best first, that overlap no better survivor by `threshold` or more."""
    alive = np.ones(len(boxes), bool)
    kept = []
    for index in range(len(boxes)):
        if alive[index]:
            kept.append(index)
            alive[index + 1 :] &= overlaps(boxes[index], boxes[index + 1 :]) < threshold
    return kept


@register("YoloDetectionOutput")
class YoloDetectionOutput(DetectionHeads):
    """YOLO version 2: num_box boxes a cell, each x, y, w, h, objectness and scores of num_classes through a softmax.

    A box has the best class and counts where objectness times its probability is confidence_threshold or more. biases
    are anchor sizes in cells.
    """

    gradient = "none"

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.yolo_detection_output_param
        self.classes: int = field.num_classes
        self.boxes: int = field.num_box
        self.least: float = field.confidence_threshold
        self.nms_threshold = field.nms_threshold
        self.biases = np.array(field.biases, np.float64).reshape(-1, 2)[: self.boxes]
        if len(self.biases) < self.boxes:
            raise UnsupportedParameterError(
                f"layer '{self.name}': yolo_detection_output_param has {len(field.biases)} biases; wanted "
                f"{2 * self.boxes}, two a box"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return self.check_channels(bottom_shapes, self.boxes * (5 + self.classes))

    def candidates(self, level: int, head: np.ndarray) -> np.ndarray:
        items, _, height, width = head.shape
        head = head.reshape(items, self.boxes, 5 + self.classes, height, width)
        placed = np.concatenate((sigmoid(head[:, :, :2]), head[:, :, 2:4]), 2)
        boxes = region_boxes(placed, self.biases, (width, height))
        scores = np.exp(head[:, :, 5:] - head[:, :, 5:].max(2, keepdims=True))
        best = (scores / scores.sum(2, keepdims=True)).max(2)
        score = sigmoid(head[:, :, 4]) * best
        rows = np.concatenate((head[:, :, 5:].argmax(2)[:, :, None], score[:, :, None], boxes), 2)
        in_order = rows.transpose(0, 3, 4, 1, 2).reshape(-1, 6)
        kept: np.ndarray = in_order[in_order[:, 1] >= np.float32(self.least)]
        return kept


@register("Yolov3DetectionOutput")
class Yolov3DetectionOutput(DetectionHeads):
    """YOLO version 3: a box counts once for each class whose probability times objectness is above the threshold.

    Each of mask_group_num bottoms has num_box boxes a cell. Head k uses the anchors mask[k * n] on, n the length of
    `mask` by mask_group_num; biases are their sizes in pixels of an image of anchors_scale[k] pixels a cell.
    gaussian_box: each coordinate has an uncertainty behind it, which lowers the score.
    """

    gradient = "none"

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = self.field = param.yolov3_detection_output_param
        self.classes: int = field.num_classes
        self.nms_threshold = field.nms_threshold
        self.coordinates = 8 if field.gaussian_box else 4
        heads = len(param.bottom)
        group = len(field.mask) // max(field.mask_group_num, 1)
        fits = heads == field.mask_group_num <= len(field.anchors_scale) and group >= field.num_box > 0
        if not fits or 2 * max(field.mask) >= len(field.biases):
            raise UnsupportedParameterError(
                f"layer '{self.name}': yolov3_detection_output_param has mask_group_num {field.mask_group_num}, "
                f"{len(field.mask)} masks, {len(field.anchors_scale)} anchors_scale and {len(field.biases)} biases; "
                f"wanted a group, with num_box {field.num_box} masks, and a scale for each of {heads} bottoms"
            )
        anchors = np.array(field.biases, np.float64)[: len(field.biases) // 2 * 2].reshape(-1, 2)
        starts = range(0, heads * group, group)
        self.anchors = [anchors[list(field.mask[start : start + field.num_box])] for start in starts]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return self.check_channels(bottom_shapes, self.field.num_box * (self.coordinates + 1 + self.classes))

    def candidates(self, level: int, head: np.ndarray) -> np.ndarray:
        items, _, height, width = head.shape
        head = head.reshape(items, self.field.num_box, self.coordinates + 1 + self.classes, height, width)
        objectness = sigmoid(head[:, :, self.coordinates])
        size = [4, 6] if self.field.gaussian_box else [2, 3]
        place = [0, 2] if self.field.gaussian_box else [0, 1]
        if self.field.gaussian_box:
            objectness = objectness * (4 - sigmoid(head[:, :, 1:8:2]).sum(2)) / 4
        scale = self.field.anchors_scale[level]
        placed = np.concatenate((sigmoid(head[:, :, place]), head[:, :, size]), 2)
        boxes = region_boxes(placed, self.anchors[level], (width * scale, height * scale))
        scores = sigmoid(head[:, :, self.coordinates + 1 :]) * objectness[:, :, None]
        in_order = scores.transpose(0, 3, 4, 1, 2)
        which = np.nonzero(in_order > np.float32(self.field.confidence_threshold))
        found = boxes.transpose(0, 3, 4, 1, 2)[which[:4]]
        return np.concatenate((which[4][:, None], in_order[which][:, None], found), 1)
