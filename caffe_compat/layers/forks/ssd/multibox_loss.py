"""MultiBoxLoss of SSD (multibox_loss_layer.cpp and bbox_util.cpp of weiliu89/caffe, branch ssd)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Shape, exactly
from caffe_compat.layers.boxes import DECODE, ENCODE, overlaps, suppressed
from caffe_compat.layers.fields import enum_name, refuse_other_fields
from caffe_compat.layers.function import need_values
from caffe_compat.layers.loss import FLT_MIN, LossLayer, normalization, normalizer
from caffe_compat.layers.registry import register

_KNOWN = (
    "loc_loss_type", "conf_loss_type", "loc_weight", "num_classes", "share_location", "match_type",
    "overlap_threshold", "use_prior_for_matching", "background_label_id", "use_difficult_gt", "do_neg_mining",
    "neg_pos_ratio", "neg_overlap", "code_type", "encode_variance_in_target", "map_object_to_agnostic",
    "ignore_cross_boundary_bbox", "bp_inside", "mining_type", "nms_param", "sample_size", "use_prior_for_nms",
)  # fmt: skip
_LEAST_OVERLAP = 1e-6  # boxes that share less do not count as touching
_LEAST_SIZE = 1e-5  # smaller boxes take no part in suppression


@dataclass
class Truth:
    """The boxes of one item: int64 (G,) classes and (G, 4) boxes."""

    labels: np.ndarray
    boxes: np.ndarray


@dataclass
class Chosen:
    """What counts for one item: priors with a box each, in the order of `classes`, and priors taken as background.

    classes: the class whose location is meant, 0 where all share it.
    """

    priors: np.ndarray
    classes: np.ndarray
    truth: np.ndarray
    negatives: np.ndarray


def match_boxes(truth: np.ndarray, boxes: np.ndarray, field: Any) -> tuple[np.ndarray, np.ndarray]:
    """For each of `boxes` the index of its true box, -1 for none, -2 if it takes no part, and the overlap (MatchBBox).

    Each true box first takes the box that it overlaps most, the best pair first. With PER_PREDICTION each box left
    then takes the true box that it overlaps most, if by overlap_threshold or more. ignore_cross_boundary_bbox leaves
    out boxes that reach out of the image.
    """
    shares = np.stack([overlaps(box, boxes) for box in truth], 1) if len(truth) else np.zeros((len(boxes), 0))
    outside = field.ignore_cross_boundary_bbox & ((boxes < 0) | (boxes > 1)).any(1)
    shares = np.where((shares > _LEAST_OVERLAP) & ~outside[:, None], shares, 0)
    index = np.where(outside, -2, -1)
    best = shares.max(1, initial=0)
    open_pairs = shares.copy()
    for _ in range(len(truth)):
        row, column = np.unravel_index(open_pairs.argmax(), open_pairs.shape)
        if open_pairs[row, column] <= 0:
            break
        index[row] = column
        best[row] = shares[row, column]
        open_pairs[row] = 0
        open_pairs[:, column] = 0
    if enum_name(field, "match_type") == "PER_PREDICTION" and len(truth):
        free = (index == -1) & (best >= field.overlap_threshold) & (best > 0)
        index[free] = shares[free].argmax(1)
    return index, best


@register("MultiBoxLoss")
class MultiBoxLoss(LossLayer):
    """(confidence loss + loc_weight * location loss) / normalizer over the priors that match a true box.

    Bottoms: locations (N, priors * 4, times classes unless share_location), confidences (N, priors * classes), the top
    of PriorBox, and labels (1, 1, boxes, 8) as of AnnotatedData. Locations of matched priors are compared with the
    coded true box (SMOOTH_L1 or L2), confidences with its class; of the other priors those with the highest loss count
    as background, neg_pos_ratio of them for each match (mining_type MAX_NEGATIVE), or the sample_size worst of all
    (HARD_EXAMPLE), or all (NONE). An item without boxes gives nothing but with NONE. normalizer: the number of
    matches, unless loss_param says otherwise. Which priors count has no gradient.
    """

    bottoms = exactly(4)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = self.field = param.multibox_loss_param
        refuse_other_fields(self.name, "multibox_loss_param", field, _KNOWN)
        self.classes: int = field.num_classes
        self.background: int = field.background_label_id
        self.location_classes = 1 if field.share_location else self.classes
        self.mining = enum_name(field, "mining_type")
        self.softmax = enum_name(field, "conf_loss_type") == "SOFTMAX"
        self.code = enum_name(field, "code_type")
        self.normalization = normalization(param.loss_param, "VALID")
        self.counts = [*param.propagate_down, True, True][:2] if param.propagate_down else [True, True]
        if self.classes < 1 or (self.softmax and not 0 <= self.background < self.classes):
            raise UnsupportedParameterError(
                f"layer '{self.name}': multibox_loss_param needs num_classes of 1 or more and a background_label_id "
                f"below it; found {self.classes} and {self.background}"
            )
        if self.mining != "NONE" and not field.share_location:
            raise UnsupportedParameterError(
                f"layer '{self.name}': multibox_loss_param.mining_type {self.mining} needs share_location: true"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        locations, confidences, priors, labels = bottom_shapes
        number = priors[2] // 4 if len(priors) > 2 and priors[0] else -1
        wanted = (number * 4 * self.location_classes, number * self.classes)
        if (math.prod(locations[1:]), math.prod(confidences[1:])) != wanted or locations[0] != confidences[0]:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {locations}, {confidences}, {priors}, wanted (N, "
                f"{wanted[0]}), (N, {wanted[1]}) and (1, 2, priors * 4)"
            )
        if labels[-1:] != (8,):
            raise ShapeError(f"layer '{self.name}': labels '{self.param.bottom[3]}' {labels} must have 8 values a row")
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        need_values(self, "matches boxes by their values")
        prior, variance = bottoms[2].detach().cpu().numpy()[0].reshape(2, -1, 4).astype(np.float64)
        number = len(prior)
        locations = bottoms[0].reshape(len(bottoms[0]), number, self.location_classes, 4)
        confidences = bottoms[1].reshape(len(bottoms[1]), number, self.classes)
        truths = self._truths(bottoms[3], len(locations))
        matching = _Matching(self, prior, variance)
        total = locations.new_zeros(())
        matched = 0
        for item, truth in enumerate(truths):
            chosen = matching.choose(truth, locations[item].detach(), confidences[item].detach())
            matched += len(chosen.priors)
            if self.counts[0] and len(chosen.priors):
                losses = matching.location_losses(chosen, truth, locations[item])
                total = total + self.field.loc_weight * losses.sum()
            if self.counts[1]:
                total = total + self._confidence_loss(confidences[item], chosen, truth)
        valid = torch.tensor(matched) if self.normalization == "VALID" else None
        return total / normalizer(self.normalization, len(locations), number, valid)

    def _truths(self, labels: Tensor, items: int) -> list[Truth]:
        """The true boxes of every item; rows end at the first of item -1."""
        rows = labels.detach().reshape(-1, 8).cpu().numpy().astype(np.float64)
        ends = np.flatnonzero(rows[:, 0] == -1)
        rows = rows[: ends[0]] if len(ends) else rows
        if not self.field.use_difficult_gt:
            rows = rows[rows[:, 7] == 0]
        classes = rows[:, 1].astype(np.int64)
        if ((classes < 0) | (classes >= self.classes) | (classes == self.background)).any():
            raise DataError(
                f"layer '{self.name}': labels '{self.param.bottom[3]}' hold class {classes.max()}, wanted 0 to "
                f"{self.classes - 1}, but for the background {self.background}"
            )
        if len(rows) and not (rows[:, 5:7] > rows[:, 3:5]).all():
            raise DataError(f"layer '{self.name}': labels '{self.param.bottom[3]}' hold a box without area")
        return [Truth(classes[rows[:, 0] == item], rows[rows[:, 0] == item, 3:7]) for item in range(items)]

    def _confidence_loss(self, scores: Tensor, chosen: Chosen, truth: Truth) -> Tensor:
        """The summed loss of one item; scores (priors, classes)."""
        index = np.full(len(scores), self.background)
        agnostic = self.field.map_object_to_agnostic
        index[chosen.priors] = self.background + 1 if agnostic else truth.labels[chosen.truth]
        used = np.arange(len(scores)) if self.mining == "NONE" else np.r_[chosen.priors, chosen.negatives]
        losses = self.confidence_losses(scores[torch.from_numpy(used).to(scores.device)], index[used])
        return losses.sum()

    def confidence_losses(self, scores: Tensor, index: np.ndarray) -> Tensor:
        """The loss of each row of scores (K, classes) against the class `index` (K,)."""
        target = torch.from_numpy(index).to(scores.device)
        if self.softmax:
            losses = functional.cross_entropy(scores, target, reduction="none")
            return losses - (losses + math.log(FLT_MIN)).clamp(min=0).detach()  # its gradient stays p - 1
        wanted = (torch.arange(self.classes, device=scores.device) == target[:, None]).to(scores.dtype)
        return functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none").sum(1)


class _Matching:
    """Which priors of an item match which true boxes, and which are negatives; prior, variance (priors, 4)."""

    def __init__(self, layer: MultiBoxLoss, prior: np.ndarray, variance: np.ndarray) -> None:
        self.layer, self.prior, self.variance = layer, prior, variance
        self.field = layer.field
        self.unit = np.ones_like(variance) if self.field.encode_variance_in_target else variance

    def choose(self, truth: Truth, locations: Tensor, confidences: Tensor) -> Chosen:
        """locations (priors, location classes, 4), confidences (priors, classes)."""
        none = np.zeros(0, np.int64)
        if not len(truth.labels):
            return Chosen(none, none, none, none)
        found: list[tuple[np.ndarray, np.ndarray]] = []
        shared = self.field.share_location
        for label in range(self.layer.location_classes):
            mine = np.arange(len(truth.labels)) if shared else np.flatnonzero(truth.labels == label)
            if not shared and label == self.layer.background:
                continue
            if self.field.use_prior_for_matching:
                index, best = match_boxes(truth.boxes, self.prior, self.field)
                index = np.where((index < 0) | np.isin(index, mine), index, -1)
            else:
                own, best = match_boxes(truth.boxes[mine], self.decoded(locations, label), self.field)
                index = np.where(own >= 0, np.append(mine, -1)[own], own)
            found.append((np.full(len(index), label), index))
        if shared:
            return self._mined(found[0][1], best, truth, locations, confidences)
        classes, indices = (np.concatenate(each) for each in zip(*found, strict=True)) if found else (none, none)
        taken = np.flatnonzero(indices >= 0)
        return Chosen(taken % len(self.prior), classes[taken], indices[taken], none)

    def decoded(self, locations: Tensor, label: int) -> np.ndarray:
        """The predicted boxes (priors, 4) of one location class."""
        offsets = locations[:, label].cpu().numpy().astype(np.float64)
        return DECODE[self.layer.code](self.prior, offsets * self.unit)

    def _mined(
        self, index: np.ndarray, best: np.ndarray, truth: Truth, locations: Tensor, confidences: Tensor
    ) -> Chosen:
        """The matches and the hardest examples of one item (MineHardExamples)."""
        mining = self.layer.mining
        taken = np.flatnonzero(index >= 0)
        chosen = Chosen(taken, np.zeros_like(taken), index[taken], np.zeros(0, np.int64))
        if mining == "NONE":
            return chosen
        labels = np.full(len(index), self.layer.background)
        labels[taken] = truth.labels[index[taken]]
        loss = self.layer.confidence_losses(confidences, labels).cpu().numpy().astype(np.float64)
        if mining == "HARD_EXAMPLE":
            eligible = np.arange(len(index))
            loss[taken] += self.location_losses(chosen, truth, locations).sum(1).cpu().numpy()
            most = self.field.sample_size
        else:
            eligible = np.flatnonzero((index == -1) & (best < self.field.neg_overlap))
            most = int(len(taken) * np.float32(self.field.neg_pos_ratio))
        hardest = self._hardest(eligible, loss, locations)[:most]
        if mining == "HARD_EXAMPLE":
            kept = taken[np.isin(taken, hardest)]
            chosen = Chosen(kept, np.zeros_like(kept), index[kept], chosen.negatives)
        chosen.negatives = np.sort(hardest[index[hardest] == -1])
        return chosen

    def _hardest(self, eligible: np.ndarray, loss: np.ndarray, locations: Tensor) -> np.ndarray:
        """`eligible`, those with the highest loss first; with nms_param without those that overlap a harder one."""
        nms = self.field.nms_param
        if not self.field.HasField("nms_param") or nms.nms_threshold <= 0:
            return eligible[np.argsort(-loss[eligible], kind="stable")]
        boxes = self.prior if self.field.use_prior_for_nms else self.decoded(locations, 0)
        eligible = eligible[(boxes[eligible, 2:] - boxes[eligible, :2]).clip(0).prod(1) >= _LEAST_SIZE]
        eligible = eligible[np.argsort(-loss[eligible], kind="stable")]
        if nms.HasField("top_k") and nms.top_k > -1:
            eligible = eligible[: nms.top_k]
        return eligible[suppressed(boxes[eligible], loss[eligible], nms.nms_threshold)]

    def location_losses(self, chosen: Chosen, truth: Truth, locations: Tensor) -> Tensor:
        """The loss of each coordinate of each matched prior, (matches, 4)."""
        prior, variance = self.prior[chosen.priors], self.variance[chosen.priors]
        coded = ENCODE[self.layer.code](prior, truth.boxes[chosen.truth]) / variance
        target = torch.from_numpy(coded).to(locations)
        rows, classes = (torch.from_numpy(each).to(locations.device) for each in (chosen.priors, chosen.classes))
        predicted = locations[rows, classes]
        if self.field.encode_variance_in_target:
            predicted = predicted / torch.from_numpy(variance).to(locations)
        if self.field.bp_inside:
            boxes = prior
            if not self.field.use_prior_for_matching:
                offsets = locations[rows, classes].detach().cpu().numpy() * self.unit[chosen.priors]
                boxes = DECODE[self.layer.code](prior, offsets)
            predicted = torch.where(torch.from_numpy((boxes < 0) | (boxes > 1)).to(rows.device), target, predicted)
        if enum_name(self.field, "loc_loss_type") == "L2":
            return (predicted - target).square() / 2
        return functional.smooth_l1_loss(predicted, target, reduction="none")
