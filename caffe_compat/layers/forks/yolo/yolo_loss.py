"""YOLO's losses: RegionLoss (version 2), Yolov3 and YoloSeg of eric612/MobileNet-YOLO, their CPU path.

Labels are (N, ..., 5) rows (class, x, y, width, height) in fractions of the image, x and y of the middle; a row of
zeros ends them. The loss is the summed square of what Caffe takes for the gradient, divided by N; that gradient itself
is what flows back, divided by N.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.boxes import overlaps
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.forks.yolo.detection_output import region_boxes, sigmoid
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


class _SquaredDeltas(torch.autograd.Function):
    """sum(deltas^2) / N of a head whose gradient is deltas / N."""

    @staticmethod
    def forward(ctx: Any, head: Tensor, deltas: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return deltas.square().sum() / head.shape[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (gradients[0] / gradient.shape[0]), None, None


def _squared(head: Tensor, deltas: np.ndarray, gradient: np.ndarray) -> Tensor:
    parts = (torch.from_numpy(each).to(head).view(head.shape) for each in (deltas, gradient))
    loss: Tensor = _SquaredDeltas.apply(head, *parts)  # type: ignore[no-untyped-call]
    return loss


def _corners(boxes: np.ndarray) -> np.ndarray:
    """x, y, width, height (K, 4) as x1, y1, x2, y2."""
    return np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)


def _shape_overlaps(size: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The overlap of a box of (width, height) with boxes of `sizes` (K, 2) around the same middle."""
    shared = np.minimum(size, sizes).prod(1)
    shares: np.ndarray = shared / (size.prod() + sizes.prod(1) - shared)
    return shares


class DetectionHeadLoss(LossLayer):
    """What the two versions share: `num` boxes a cell, each x, y, w, h, objectness and num_class scores."""

    field: Any

    @property
    def length(self) -> int:
        return 5 + int(self.field.num_class)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        head, labels = bottom_shapes
        wanted = self.field.num * self.length
        if len(head) != 4 or head[1] != wanted or math.prod(labels[1:]) % 5:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {head} and {labels}, wanted (N, {wanted}, H, W) and "
                "(N, boxes, 5)"
            )
        return super().top_shapes(bottom_shapes)

    def rows(self, labels: Tensor) -> list[np.ndarray]:
        """The true boxes of every item, (K, 5)."""
        table = labels.detach().reshape(len(labels), -1, 5).cpu().numpy().astype(np.float64)
        ends = [next((k for k, row in enumerate(item) if not row[1] or not row[3]), len(item)) for item in table]
        found = [item[:end] for item, end in zip(table, ends, strict=True)]
        for item in found:
            inside = (item[:, 1:3] < 1).all() and (item[:, 0] >= 0).all() and (item[:, 0] < self.field.num_class).all()
            if not inside:
                raise DataError(
                    f"layer '{self.name}': labels '{self.param.bottom[1]}' hold a box outside the image, or a class "
                    f"outside 0 to {self.field.num_class - 1}"
                )
        return found

    def best_overlaps(self, boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """For each predicted box (num, 4, H, W) how much of a true box it covers at best: (num, H, W)."""
        flat = _corners(boxes.transpose(0, 2, 3, 1).reshape(-1, 4))
        shares = [overlaps(box, flat) for box in _corners(truth[:, 1:])]
        best = np.max(shares, 0) if shares else np.zeros(len(flat))
        return best.reshape(boxes.shape[0], *boxes.shape[2:])


@register("RegionLoss")
class RegionLoss(DetectionHeadLoss):
    """YOLO version 2: boxes by x, y through a sigmoid, classes through a softmax; biases are anchor sizes in cells.

    Each true box takes the anchor of its cell whose shape fits best (bias_match: as given, else as predicted). The
    objectness of other boxes is drawn to 0, unless they cover a true box by more than thresh.
    """

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
        items, _, height, width = bottoms[0].shape
        head = bottoms[0].detach().double().cpu().numpy().reshape(items, self.field.num, self.length, height, width)
        deltas = np.zeros_like(head)
        for item, truth in enumerate(self.rows(bottoms[1])):
            self._of_item(head[item], truth, deltas[item])
        return _squared(bottoms[0], deltas, deltas)

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


@register("Yolov3")
class Yolov3(DetectionHeadLoss):
    """YOLO version 3: boxes by x, y and classes through sigmoids; biases are anchor sizes in pixels of the image.

    A true box takes the anchor of all biases whose shape fits best, if it is one of `mask`, and those of its cell that
    fit by more than iou_thresh; true classes are smoothed by label_smooth_eps. The objectness of other boxes is drawn
    to 0, unless they cover a true box by more than thresh. use_logic_gradient: what flows back is multiplied by the
    slope of the sigmoid. Only iou_loss MSE runs, and only without use_focal_loss.
    """

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
        items, _, height, width = bottoms[0].shape
        head = bottoms[0].detach().double().cpu().numpy().reshape(items, self.field.num, self.length, height, width)
        swapped = np.concatenate((sigmoid(head[:, :, :2]), head[:, :, 2:4], sigmoid(head[:, :, 4:])), 2)
        deltas = np.zeros_like(head)
        for item, truth in enumerate(self.rows(bottoms[1])):
            self._of_item(swapped[item], truth, deltas[item])
        slope = swapped * (1 - swapped) if self.field.use_logic_gradient else np.ones_like(swapped)
        slope[:, :, 2:4] = 1
        return _squared(bottoms[0], deltas, deltas * slope)

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


@register("YoloSeg")
class YoloSeg(LossLayer):
    """Segments by a sigmoid of each channel: deltas object_scale * (sigmoid(x) - t) for labels t.

    A third bottom, the number of pixels of each item and class, weighs the pixels of a class with 2 - the share of that
    number in the number of all others.
    """

    bottoms = Count(2, 3)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_equal_counts(bottom_shapes)
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, labels = bottoms[0], bottoms[1].detach().reshape(bottoms[0].shape)
        deltas = torch.sigmoid(x.detach()) - labels
        if len(bottoms) > 2:
            counts = bottoms[2].detach().reshape(-1, x.shape[1])
            pixels = math.prod(x.shape[2:])
            share = counts.sum(0) / (pixels - counts).sum(0)
            weight = torch.where(labels > 0.5, (2 - share).view(1, -1, 1, 1), 1)
            deltas = deltas * weight
        deltas = deltas * self.param.yolo_seg_param.object_scale
        loss: Tensor = _SquaredDeltas.apply(x, deltas, deltas)  # type: ignore[no-untyped-call]
        return loss
