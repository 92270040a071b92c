"""What the losses of YOLO have in common (region_loss_layer.cpp of eric612/MobileNet-YOLO, its CPU path).

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

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Shape
from caffe_compat.layers.boxes import overlaps
from caffe_compat.layers.function import DIFFERENCES, Function, without_derivative
from caffe_compat.layers.loss import LossLayer


class _SquaredDeltas(Function):
    """sum(deltas^2) / N of a head whose gradient is `gradient` / N."""

    @staticmethod
    def forward(ctx: Any, head: Tensor, deltas: Tensor, gradient: Tensor, layer: tuple[str, str]) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(gradient, head)
        return deltas.square().sum() / head.shape[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient, head = ctx.saved_tensors
        gradient = without_derivative(ctx, gradient, ctx.layer, "matches boxes by their values", DIFFERENCES, (head,))
        return gradient * (gradients[0] / gradient.shape[0]), None, None, None


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

    def squared(self, head: Tensor, deltas: np.ndarray, gradient: np.ndarray) -> Tensor:
        """The loss of these deltas, with this gradient."""
        parts = (torch.from_numpy(each).to(head).view(head.shape) for each in (deltas, gradient))
        loss: Tensor = _SquaredDeltas.apply(head, *parts, (self.name, self.param.type))  # type: ignore[no-untyped-call]
        return loss

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
