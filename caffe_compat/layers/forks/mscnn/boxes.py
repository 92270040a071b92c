"""The boxes of MS-CNN: what its heads propose, which proposals train the second stage, and how good they are.

Source: box_output_layer.cpp, bbox_accuracy_layer.cpp, decode_bbox_layer.cpp and proposal_target_layer.cpp of
zhaoweicai/mscnn. Boxes are (item, x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.forks.mscnn.heads import overlaps_by_size, predicted_boxes, statistics
from caffe_compat.layers.registry import register


@register("BoxOutput")
class BoxOutput(Layer):
    """The boxes of all heads that score fg_thr or more and overlap no better one by more than iou_thr; no gradient.

    Bottoms: heads (N, classes + 4, H, W). A score is that of the best class less that of the background. Tops: boxes
    (K, 5, 1, 1), and with the score behind (K, 6, 1, 1). Without any box: one of (0, 1, 1, 10, 10), and zeros.
    """

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
        rows = np.concatenate([np.insert(each, 0, item, 1) for item, each in enumerate(kept)])
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


def _sizes(boxes: np.ndarray) -> np.ndarray:
    """x, y, width, height of boxes (K, 4) x1, y1, x2, y2, both ends counted."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2] + 1), 1)


@register("BboxAccuracy")
class BboxAccuracy(Layer):
    """Top 0: the mean overlap of regressed boxes with their true boxes; top 1: that of the boxes before; no gradient.

    Bottoms: offsets (R, classes * 4), boxes (R, 5) and matches (R, 6): class, x1, y1, x2, y2, overlap. Boxes of the
    background, and those that overlap by more than 0.975, do not count; -1 where none is left.
    """

    bottoms = exactly(3)
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.mean, self.std = statistics(self)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len({shape[0] for shape in bottom_shapes}) != 1:
            raise ShapeError(f"layer '{self.name}': bottoms {bottom_shapes} must agree in the first axis")
        return [(1, 1, 1, 1)] * len(self.param.top)

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        offsets, rois, matches = (bottom.flatten(1).double().cpu().numpy() for bottom in bottoms)
        labels = matches[:, 0].astype(np.int64)
        counts = np.flatnonzero((labels > 0) & (matches[:, -1] <= 0.975))
        before = _sizes(rois[counts, 1:5])
        truth = _sizes(matches[counts, 1:5])
        own = offsets.reshape(len(offsets), -1, 4)[counts, labels[counts]] * self.std + self.mean
        size = before[:, 2:] * np.exp(own[:, 2:])
        centre = own[:, :2] * before[:, 2:] + before[:, :2] + before[:, 2:] / 2
        after = np.concatenate((centre - size / 2, size), 1)
        shares = [
            [overlaps_by_size(box, true[None])[0] for box, true in zip(boxes, truth, strict=True)]
            for boxes in (after, before)
        ]
        tops = [bottoms[0].new_tensor(np.mean(each) if each else -1.0).view(1, 1, 1, 1) for each in shares]
        return tops[0] if len(self.param.top) == 1 else tuple(tops)


@register("DecodeBBox")
class DecodeBBox(Layer):
    """The boxes of bottom 1, (R, 5), moved by the offsets of class 1 in bottom 0, (R, 8); no gradient.

    In TRAIN boxes turned inside out are left out, and with matches (R, 6) as bottom 2 those that overlap their true box
    by gt_iou_thr or more.
    """

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


@register("ProposalTarget")
class ProposalTarget(Layer):
    """Boxes that train the second stage, drawn from those of bottom 0, (R, 5), and the true ones of bottom 1, (G, 7).

    A true box is (item, x1, y1, x2, y2, class, ignored). Foreground overlaps a true box by fg_thr or more, background
    by bg_thr_lw to bg_thr_hg; batch_size boxes are drawn, fg_fraction of them foreground, or all with -1. What lacks is
    filled up with other background, then with boxes drawn in the image. Tops: boxes (B, 5), classes (B, 1), regression
    targets and two weights (B, classes * 4 or 8), matches (B, 6), and weights of samples (B, 1), all with two axes of 1
    behind. No gradient; draws with Caffe's distribution, not its random numbers.
    """

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
        number = max(boxes[0], 1) if self.batch == -1 else self.batch
        widths = (5, 1, self.width, self.width, self.width, 6, 1)[: len(self.param.top)]
        return [(number, width, 1, 1) for width in widths]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        boxes, truth = (bottom.flatten(1).double().cpu().numpy() for bottom in bottoms)
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
        sizes, wanted = _sizes(boxes[:, 1:]), _sizes(truth[:, 1:5])
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
            mine = _sizes(truth[truth[:, 0] == item, 1:5])
            box = np.array([x, y, *size], np.float64)
            if overlaps_by_size(box, mine).max(initial=0) < field.fg_thr:
                rows.append(np.array([item, x, y, x + size[0] - 1, y + size[1] - 1], np.float64))
        return np.array(rows).reshape(-1, 5)

    def _targets(self, rows: np.ndarray, truth: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the offsets of each box should be, at the place of its class, and 1 there; truth of the foreground."""
        boxes, wanted = _sizes(rows[: len(truth), 1:]), _sizes(truth[:, 1:5])
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
