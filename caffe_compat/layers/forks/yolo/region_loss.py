"""RegionLoss of YOLO version 2 (region_loss_layer.cpp of eric612/MobileNet-YOLO, its CPU path)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context
from caffe_compat.layers.boxes import overlaps
from caffe_compat.layers.forks.yolo.detection_output import region_boxes, sigmoid
from caffe_compat.layers.forks.yolo.heads import DetectionHeadLoss, _corners, _shape_overlaps
from caffe_compat.layers.function import need_values
from caffe_compat.layers.registry import register


@register("RegionLoss")
class RegionLoss(DetectionHeadLoss):
    """YOLO version 2: boxes by x, y through a sigmoid, classes through a softmax; biases are anchor sizes in cells.

    Each true box takes the anchor of its cell whose shape fits best (bias_match: as given, else as predicted). The
    objectness of other boxes is drawn to 0, unless they cover a true box by more than thresh.
    """

    gradient = "own"

    def __init__(self, param: Any, context: Context) -> None:
        self.field = param.region_loss_param
        super().__init__(param, context)
        biases = list(self.field.biases) if len(self.field.biases) >= 10 else [0.0] * 10
        self.biases = np.array(biases, np.float64)[: len(biases) // 2 * 2].reshape(-1, 2)
        if len(self.biases) < self.field.num or self.field.coords != 4:
            raise UnsupportedParameterError(
                f"layer '{self.name}': region_loss_param has {len(biases)} biases and coords {self.field.coords}; "
                f"wanted {2 * self.field.num} and 4"
            )

    def forward(self, *bottoms: Tensor) -> Tensor:
        need_values(self, "matches boxes by their values")
        items, _, height, width = bottoms[0].shape
        head = bottoms[0].detach().double().cpu().numpy().reshape(items, self.field.num, self.length, height, width)
        deltas = np.zeros_like(head)
        for item, truth in enumerate(self.rows(bottoms[1])):
            self._of_item(head[item], truth, deltas[item])
        return self.squared(bottoms[0], deltas, deltas)

    def _of_item(self, head: np.ndarray, truth: np.ndarray, deltas: np.ndarray) -> None:
        """Fill in the deltas (num, length, H, W) of one item."""
        field = self.field
        height, width = head.shape[2:]
        objectness, placed = sigmoid(head[:, 4]), sigmoid(head[:, :2])
        slope = objectness * (1 - objectness)
        boxes = region_boxes(np.concatenate((placed, head[:, 2:4]), 1), self.biases[: field.num], (width, height))
        ignored = self.best_overlaps(boxes, truth) > np.float32(field.thresh)
        deltas[:, 4] = np.where(ignored, 0, field.noobject_scale * objectness * slope)
        for label, *box in truth:
            column, row = int(box[0] * width), int(box[1] * height)
            sizes = self.biases[: field.num] / width if field.bias_match else boxes[:, 2:, row, column]
            n = int(_shape_overlaps(np.array(box[2:]), sizes).argmax())
            place = (n, slice(None), row, column)
            scale = field.coord_scale * (1 if field.rescore else 2 - box[2] * box[3])
            share = overlaps(_corners(np.array([box]))[0], _corners(boxes[place][None]))[0]
            at, raw = placed[n, :, row, column], head[place]
            wanted = np.array([box[0] * width - column, box[1] * height - row])
            logs = np.log(np.array(box[2:]) * (width, height) / self.biases[n])
            deltas[n, :2, row, column] = -scale * (wanted - at) * at * (1 - at)
            deltas[n, 2:4, row, column] = -scale * (logs - raw[2:4])
            aim = share if field.rescore else 1
            deltas[n, 4, row, column] = -field.object_scale * (aim - objectness[n, row, column]) * slope[n, row, column]
            scores = np.exp(raw[5:] - raw[5:].max())
            hot = np.arange(field.num_class) == int(label)
            deltas[n, 5:, row, column] = -field.class_scale * (hot - scores / scores.sum())
