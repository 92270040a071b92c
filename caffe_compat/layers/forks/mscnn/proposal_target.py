"""ProposalTarget of MS-CNN (proposal_target_layer.cpp of zhaoweicai/mscnn).

Boxes are (item, x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.forks.mscnn.heads import as_sizes, check_classes, overlaps_by_size, statistics
from caffe_compat.layers.registry import register


@register("ProposalTarget")
class ProposalTarget(Layer):
    """Boxes that train the second stage, drawn from those of bottom 0, (R, 5), and the true ones of bottom 1, (G, 7).

    A true box is (item, x1, y1, x2, y2, class, ignored). Foreground overlaps a true box by fg_thr or more, background
    by bg_thr_lw to bg_thr_hg; batch_size boxes are drawn, fg_fraction of them foreground, or all with -1. What lacks is
    filled up with other background, then with boxes drawn in the image. Tops: boxes (B, 5), classes (B, 1), regression
    targets and two weights (B, classes * 4 or 8), matches (B, 6), and weights of samples (B, 1), all with two axes of 1
    behind. No gradient; draws with Caffe's distribution, not its random numbers.
    """

    gradient = "none"
    bottoms = exactly(2)
    tops = Count(6, 7)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.proposal_target_param
        self.mean, self.std = statistics(self)
        self.batch: int = self.field.batch_size
        self.aware: bool = param.bbox_reg_param.cls_aware
        if not self.field.HasField("cls_num"):
            raise UnsupportedParameterError(
                f"layer '{self.name}': proposal_target_param has no cls_num; only MS-CNN's ProposalTarget is known"
            )
        self.width: int = self.field.cls_num * 4 if self.aware else 8

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        boxes, truth = bottom_shapes
        if boxes[1:2] != (5,) or truth[1:2] != (7,):
            raise ShapeError(f"layer '{self.name}': bottoms {boxes} and {truth}, wanted (R, 5) and (G, 7)")
        self.need_items(bottom_shapes, 1)
        number = max(boxes[0], 1) if self.batch == -1 else self.batch
        widths = (5, 1, self.width, self.width, self.width, 6, 1)[: len(self.param.top)]
        return [(number, width, 1, 1) for width in widths]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        boxes, truth = (bottom.flatten(1).double().cpu().numpy() for bottom in bottoms)
        check_classes(self, 1, truth[truth[:, 6] == 0, 5].astype(np.int64), self.width // 4 if self.aware else None)
        boxes = np.concatenate((boxes, truth[:, :5]))
        best, shares = self._matched(boxes, truth)
        kept, foreground = self._drawn(shares, truth[best, 6] != 0)
        backup = self._backup((self.batch if self.batch > 0 else len(kept)) - len(kept), truth)
        labels = np.zeros(len(kept) + len(backup))
        labels[:foreground] = truth[best[kept[:foreground]], 5]
        rows = np.concatenate((boxes[kept], backup))
        targets, weights = self._targets(rows, truth[best[kept[:foreground]]], labels)
        matches = np.zeros((len(rows), 6))
        matches[:foreground, 0] = labels[:foreground]
        matches[:foreground, 1:5] = truth[best[kept[:foreground]], 1:5]
        matches[:foreground, 5] = shares[kept[:foreground]]
        tops = (rows, labels[:, None], targets, weights, weights, matches, self._sample_weights(labels, matches))
        return tuple(bottoms[0].new_tensor(top)[:, :, None, None] for top in tops[: len(self.param.top)])

    def _matched(self, boxes: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each box the true box of its item that it overlaps most, and by how much."""
        sizes, wanted = as_sizes(boxes[:, 1:]), as_sizes(truth[:, 1:5])
        shares = np.stack([overlaps_by_size(box, sizes) for box in wanted], 1)
        shares = np.where(boxes[:, :1] == truth[:, 0], shares, -1)
        return shares.argmax(1), shares.max(1).clip(0)

    def _drawn(self, shares: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, int]:
        """The boxes that count, foreground first, and how many of them are foreground."""
        field = self.field
        is_foreground = shares >= np.float32(field.fg_thr)
        is_background = (shares >= np.float32(field.bg_thr_lw)) & (shares < np.float32(field.bg_thr_hg))
        foreground = np.flatnonzero(is_foreground & ~ignored)
        background = np.flatnonzero(~is_foreground & is_background)
        rest = np.flatnonzero(~is_foreground & ~is_background)
        if self.batch == -1:
            return np.concatenate((foreground, background)), len(foreground)
        foreground = self._some(foreground, int(field.fg_fraction * self.batch + 0.5))
        wanted = self.batch - len(foreground)
        background = np.concatenate((self._some(background, wanted), rest[: max(wanted - len(background), 0)]))
        return np.concatenate((foreground, background)), len(foreground)

    def _some(self, values: np.ndarray, number: int) -> np.ndarray:
        if len(values) <= number:
            return values
        chosen: np.ndarray = values[torch.randperm(len(values))[:number].numpy()]
        return chosen

    def _backup(self, number: int, truth: np.ndarray) -> np.ndarray:
        """`number` boxes drawn anywhere in the image that overlap no true box by fg_thr: (number, 5)."""
        field, rows = self.field, list[np.ndarray]()
        width, height = field.img_width, field.img_height
        if number > 0 and min(width, height) <= 32:
            raise UnsupportedParameterError(
                f"layer '{self.name}': proposal_target_param.img_width {width} and img_height {height} must be above 32"
            )
        while len(rows) < number:
            item, x, y = (int(torch.randint(end, ())) for end in (field.num_img_per_batch, width - 32, height - 32))
            size = [max(int(torch.randint(end, ())), 32) for end in (width - x, height - y)]
            mine = as_sizes(truth[truth[:, 0] == item, 1:5])
            box = np.array([x, y, *size], np.float64)
            if overlaps_by_size(box, mine).max(initial=0) < field.fg_thr:
                rows.append(np.array([item, x, y, x + size[0] - 1, y + size[1] - 1], np.float64))
        return np.array(rows).reshape(-1, 5)

    def _targets(self, rows: np.ndarray, truth: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the offsets of each box should be, at the place of its class, and 1 there; truth of the foreground."""
        boxes, wanted = as_sizes(rows[: len(truth), 1:]), as_sizes(truth[:, 1:5])
        shift = (wanted[:, :2] + wanted[:, 2:] / 2 - boxes[:, :2] - boxes[:, 2:] / 2) / boxes[:, 2:]
        coded = (np.concatenate((shift, np.log(wanted[:, 2:] / boxes[:, 2:])), 1) - self.mean) / self.std
        targets, weights = np.zeros((2, len(rows), self.width))
        for index, row in enumerate(coded):
            first = 4 * (int(labels[index]) if self.aware else min(1, int(labels[index])))
            targets[index, first : first + 4], weights[index, first : first + 4] = row, 1
        return targets, weights

    def _sample_weights(self, labels: np.ndarray, matches: np.ndarray) -> np.ndarray:
        weights = np.where(labels > 0, matches[:, 5], 1.0) if self.field.iou_weighted else np.ones(len(labels))
        positive, negative = weights[labels > 0].sum(), weights[labels <= 0].sum()
        if positive:
            share = self.field.fg_fraction * len(labels)
            weights[labels > 0] *= share / positive
            weights[labels <= 0] *= (len(labels) - share) / (negative or 1)
        return weights[:, None]
