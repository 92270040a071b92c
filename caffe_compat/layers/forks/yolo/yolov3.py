"""Yolov3, the loss of YOLO version 3 (yolov3_layer.cpp of eric612/MobileNet-YOLO, its CPU path)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.forks.yolo.detection_output import region_boxes, sigmoid
from caffe_compat.layers.forks.yolo.heads import DetectionHeadLoss, _shape_overlaps
from caffe_compat.layers.function import need_values
from caffe_compat.layers.registry import register


@register("Yolov3")
class Yolov3(DetectionHeadLoss):
    """YOLO version 3: boxes by x, y and classes through sigmoids; biases are anchor sizes in pixels of the image.

    A true box takes the anchor of all biases whose shape fits best, if it is one of `mask`, and those of its cell that
    fit by more than iou_thresh; true classes are smoothed by label_smooth_eps. The objectness of other boxes is drawn
    to 0, unless they cover a true box by more than thresh. use_logic_gradient: what flows back is multiplied by the
    slope of the sigmoid. Only iou_loss MSE runs, and only without use_focal_loss.
    """

    gradient = "own"

    def __init__(self, param: Any, context: Context) -> None:
        self.field = param.yolov3_param
        super().__init__(param, context)
        biases = np.array(self.field.biases, np.float64)
        self.biases = biases[: len(biases) // 2 * 2].reshape(-1, 2)
        self.mask = list(self.field.mask)[: self.field.num]
        if len(self.mask) < self.field.num or max(self.mask, default=0) >= len(self.biases):
            raise UnsupportedParameterError(
                f"layer '{self.name}': yolov3_param has {len(self.field.mask)} masks and {len(biases)} biases; wanted "
                f"{self.field.num} masks that name pairs of biases"
            )

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        rule = enum_name(param.yolov3_param, "iou_loss")
        if rule != "MSE":
            return f"yolov3_param.iou_loss {rule} does not run; implemented: MSE"
        return "yolov3_param.use_focal_loss does not run" if param.yolov3_param.use_focal_loss else ""

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.shortcoming(self.param):
            raise UnsupportedParameterError(f"layer '{self.name}': {self.shortcoming(self.param)}")
        need_values(self, "matches boxes by their values")
        items, _, height, width = bottoms[0].shape
        head = bottoms[0].detach().double().cpu().numpy().reshape(items, self.field.num, self.length, height, width)
        swapped = np.concatenate((sigmoid(head[:, :, :2]), head[:, :, 2:4], sigmoid(head[:, :, 4:])), 2)
        deltas = np.zeros_like(head)
        for item, truth in enumerate(self.rows(bottoms[1])):
            self._of_item(swapped[item], truth, deltas[item])
        slope = swapped * (1 - swapped) if self.field.use_logic_gradient else np.ones_like(swapped)
        slope[:, :, 2:4] = 1
        return self.squared(bottoms[0], deltas, deltas * slope)

    def _of_item(self, values: np.ndarray, truth: np.ndarray, deltas: np.ndarray) -> None:
        """Fill in the deltas (num, length, H, W) of one item."""
        height, width = values.shape[2:]
        pixels = (width * self.field.anchors_scale, height * self.field.anchors_scale)
        boxes = region_boxes(values[:, :4], self.biases[self.mask], pixels)
        ignored = self.best_overlaps(boxes, truth) > np.float32(self.field.thresh)
        deltas[:, 4] = np.where(ignored, 0, values[:, 4])
        for label, *box in truth:
            fits = _shape_overlaps(np.array(box[2:]), self.biases / pixels)
            best = int(fits.argmax())
            if best in self.mask:
                best = self.mask.index(best)  # from here on Caffe compares the place in the mask with anchors
                self._draw(values, deltas, best, int(label), box, pixels)
            for anchor, share in enumerate(fits):
                if anchor in self.mask and anchor != best and share > self.field.iou_thresh < 1:
                    self._draw(values, deltas, self.mask.index(anchor), int(label), box, pixels)

    def _draw(
        self, values: np.ndarray, deltas: np.ndarray, n: int, label: int, box: list[float], pixels: tuple[int, int]
    ) -> None:
        """Draw box n of the cell in which `box` lies towards it."""
        field = self.field
        height, width = values.shape[2:]
        column, row = int(box[0] * width), int(box[1] * height)
        place = (n, slice(None), row, column)
        found, delta = values[place], deltas[place]
        logs = np.log(np.array(box[2:]) * pixels / self.biases[self.mask[n]])
        wanted = np.array([box[0] * width - column, box[1] * height - row, *logs])
        delta[:4] = -field.coord_scale * (2 - box[2] * box[3]) * (wanted - found[:4])
        delta[4] = -(1 - found[4]) * (field.object_scale if field.use_logic_gradient else 1)
        hot = (np.arange(field.num_class) == label).astype(np.float64)
        aims = hot * (1 - field.label_smooth_eps) + 0.5 * field.label_smooth_eps
        drawn = -field.class_scale * (aims - found[5:])
        which = slice(None) if not delta[5 + label] else label  # a cell that has this class keeps its others
        delta[5:][which] = drawn[which]
        deltas[place] = delta
