"""DetectionEvaluate of SSD (detection_evaluate_layer.cpp of weiliu89/caffe, branch ssd)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.boxes import overlaps
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.registry import register
from caffe_compat.proto.files import find_file
from caffe_compat.proto.reading import read_lines

Row = tuple[float, ...]


@register("DetectionEvaluate")
class DetectionEvaluate(Layer):
    """What mean average precision is computed from: top (1, 1, rows, 5), a row (item, class, score, true, false).

    Bottoms: the top of DetectionOutput (1, 1, K, 7) and labels (1, 1, boxes, 8). The first rows are (-1, class, number
    of true boxes, -1, -1), one a class without the background. Then each detection, class by class, best first: true 1
    where it overlaps a true box of its class by overlap_threshold or more that no better one has taken; false 1
    otherwise; neither where that box is difficult and evaluate_difficult_gt is false. No gradient.

    name_size_file, one line "name height width" an item in the order of the data, makes boxes pixels of the images.
    """

    gradient = "none"
    bottoms = exactly(2)
    remembers = ("_item",)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.detection_evaluate_param
        self.classes = [label for label in range(field.num_classes) if label != field.background_label_id]
        self.background: int = field.background_label_id
        self.threshold: float = field.overlap_threshold
        self.counts_difficult: bool = field.evaluate_difficult_gt
        self.size_file: str = field.name_size_file
        self._sizes: list[tuple[int, int]] | None = None
        self._item = 0
        if field.num_classes < 1 or self.threshold <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': detection_evaluate_param needs num_classes of 1 or more and a positive "
                f"overlap_threshold; found {field.num_classes} and {self.threshold:g}"
            )
        if field.HasField("resize_param") and enum_name(field.resize_param, "resize_mode") != "WARP":
            raise UnsupportedParameterError(
                f"layer '{self.name}': detection_evaluate_param.resize_param.resize_mode "
                f"{enum_name(field.resize_param, 'resize_mode')} is not implemented; implemented: WARP"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        found, truth = bottom_shapes
        if found[-1:] != (7,) or truth[-1:] != (8,):
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {found} and {truth}, wanted (1, 1, K, 7) and (1, 1, G, 8)"
            )
        return [(1, 1, len(self.classes) + found[-2], 5)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        found = bottoms[0].reshape(-1, 7).double().cpu().numpy()
        truth = bottoms[1].reshape(-1, 8).double().cpu().numpy()
        ends = np.flatnonzero(truth[:, 0] == -1)
        truth = truth[: ends[0]] if len(ends) else truth
        counted = truth if self.counts_difficult else truth[truth[:, 7] == 0]
        rows: list[Row] = [(-1, label, (counted[:, 1] == label).sum(), -1, -1) for label in self.classes]
        found = found[found[:, 1] != -1]
        for item in np.unique(found[:, 0]):
            size = self._next_size()
            for label in np.unique(found[found[:, 0] == item, 1]):
                mine = found[(found[:, 0] == item) & (found[:, 1] == label)]
                rows += self._judged(mine, truth[(truth[:, 0] == item) & (truth[:, 1] == label)], size)
        values = np.array(rows, np.float64).reshape(-1, 5)
        return torch.from_numpy(values).to(bottoms[0])[None, None]

    def _judged(self, found: np.ndarray, truth: np.ndarray, size: tuple[int, int] | None) -> list[Row]:
        """The rows of one item's detections of one class, in the order given where there is no true box."""
        if not len(truth):
            return [(*row[:3], 0, 1) for row in found]
        found = found[np.argsort(-found[:, 2], kind="stable")]
        boxes, wanted = _pixels(found[:, 3:7], size), _pixels(truth[:, 3:7], size)
        taken, rows = set[int](), []
        for row, box in zip(found, boxes, strict=True):
            shares = overlaps(box, wanted, pixel=0 if size is None else 1)
            best = int(shares.argmax())
            hit = shares[best] >= self.threshold
            counts = self.counts_difficult or not truth[best, 7]
            true = hit and counts and best not in taken
            taken |= {best} if true else set()
            rows.append((*row[:3], float(true), float(not true and (counts or not hit))))
        return rows

    def _next_size(self) -> tuple[int, int] | None:
        """Height and width of the next item's image; None without name_size_file."""
        if not self.size_file:
            return None
        if self._sizes is None:
            path = find_file(self.size_file, self.context.folder, named_by=f"layer '{self.name}'")
            self._sizes = _read_sizes(path, self.name)
        size = self._sizes[self._item]
        self._item = (self._item + 1) % len(self._sizes)
        return size


def _read_sizes(path: Path, layer: str) -> list[tuple[int, int]]:
    lines = [line.split() for line in read_lines(path)]
    try:
        sizes = [(int(height), int(width)) for _, height, width in (line for line in lines if line)]
    except ValueError:
        sizes = []
    if not sizes:
        raise DataError(f"layer '{layer}': {path} must have lines 'name height width'")
    return sizes


def _pixels(boxes: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None:
        return boxes
    height, width = size
    return boxes.clip(0, 1) * (width, height, width, height)
