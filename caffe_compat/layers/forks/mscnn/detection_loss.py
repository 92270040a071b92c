"""DetectionLoss of MS-CNN (detection_loss_layer.cpp of zhaoweicai/mscnn)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import given
from caffe_compat.layers.forks.mscnn.heads import COORDINATES, Head, places, statistics
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


@register("DetectionLoss")
class DetectionLoss(Head, LossLayer):
    """Softmax loss of the classes, plus lambda times smooth L1 (bb_smooth) or squared loss of the coordinates.

    Both are means, over places and over coordinates of foreground places. Of the background places with an overlap
    below bg_threshold those count that sample_mode chooses: random ones, bg_multiple for each foreground place; the
    ones that look most like foreground ("bootstrap"); half of each ("mixture"); or all. iou_weighted and
    pos_neg_weighted weigh the places. Top (1, 1, 1, 2): the whole loss, and the coordinates' part of it, through which
    nothing flows. The gradient of a coordinate beyond its bounds is that at the bound, as in Caffe.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.detection_loss_param
        self.ignore_label: int | None = given(param.loss_param, "ignore_label")
        self.mean, self.std = statistics(self)
        self.share: float = getattr(self.field, "lambda")  # here, for torch.compile cannot read a field of that name
        if self.field.coord_num != COORDINATES:
            raise UnsupportedParameterError(f"layer '{self.name}': coord_num is {self.field.coord_num}; it must be 4")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_head(bottom_shapes, self.field.cls_num)
        return [(1, 1, 1, 2)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        head, label = bottoms[0], bottoms[1].detach()
        classes = label[:, 0].long()
        found = [self._background(item[0].detach(), item[1]) for item in zip(head, label, strict=True)]
        kept = torch.stack(found) if found else classes > 0
        weights = self._weights(label, classes, kept)
        index = classes.clamp(max=1) if self.field.objectness else classes
        counts = (index != 0) | kept
        if self.ignore_label is not None:
            counts &= index != self.ignore_label
        number = self.field.cls_num
        losses = functional.cross_entropy(head[:, :number], index.clamp(0, number - 1), reduction="none")
        class_loss = torch.where(counts, losses * weights, 0).sum() / counts.sum().clamp(min=1)
        foreground = classes != 0
        if self.ignore_label is not None:
            foreground &= classes != self.ignore_label
        box_loss = self._box_loss(head[:, number:], label, foreground) * self.share
        return torch.stack((class_loss + box_loss, box_loss.detach())).view(1, 1, 1, 2)

    def _box_loss(self, predicted: Tensor, label: Tensor, foreground: Tensor) -> Tensor:
        size = label.new_tensor([self.field.field_w, self.field.field_h]).view(1, 2, 1, 1)
        centre = torch.from_numpy(places(label.shape[2], label.shape[3], self.field.downsample_rate)).to(label)
        wanted = torch.cat(((label[:, 1:3] - centre) / size, (label[:, 3:5].clamp(min=2) / size).log()), 1)
        mean, std = (torch.from_numpy(each).to(label).view(1, 4, 1, 1) for each in (self.mean, self.std))
        half, middle = torch.tensor(self._bounds(), dtype=label.dtype, device=label.device).T.reshape(2, 1, 4, 1, 1)
        bounded = torch.maximum(torch.minimum(predicted, middle + half), middle - half)
        predicted = predicted + (bounded - predicted).detach()
        wanted = (wanted - mean) / std
        rule = functional.smooth_l1_loss if self.field.bb_smooth else functional.mse_loss
        losses = rule(predicted, wanted, reduction="none") * (1.0 if self.field.bb_smooth else 0.5)
        losses = torch.where(foreground[:, None], losses, 0)
        loss: Tensor = losses.sum() / (foreground.sum() * COORDINATES).clamp(min=1)
        return loss

    def _bounds(self) -> list[tuple[float, float]]:
        """Half the width and the middle of the interval that each coordinate is kept in, in units of bbox_std."""
        ends = []
        for bound, pair in ((1 / self.field.field_xyr, slice(0, 2)), (math.log(self.field.field_whr), slice(2, 4))):
            std = math.sqrt(self.std[pair].prod())
            ends += [(bound / std, -self.mean[pair].mean() / std)] * 2
        return ends

    def _background(self, head: Tensor, label: Tensor) -> Tensor:
        """Which background places of one item count: bool (H, W)."""
        eligible: Tensor = ((label[0].long() == 0) & (label[5] < self.field.bg_threshold)).flatten()
        mode, multiple = self.field.sample_mode, float(self.field.bg_multiple)
        if mode not in ("random", "bootstrap", "mixture"):
            return eligible.view(label.shape[1:])
        share = 0.5 if mode == "mixture" else 1.0
        kept = torch.zeros_like(eligible)
        if mode != "bootstrap":
            positive = int((label[0].long() != 0).sum())
            number = max(int(positive * multiple * share), 4 * (self.field.cls_num - 1))
            drawn = torch.randint(eligible.numel(), (number,), device=eligible.device)
            kept[drawn] = eligible[drawn]
        if mode != "random":
            for index in range(1, self.field.cls_num):
                number = max(4, int(int((label[0].long() == index).sum()) * multiple * share))
                scores = torch.where(eligible, head[index].flatten(), -math.inf)
                order = scores.flip(0).argsort(descending=True, stable=True)  # of equal ones the later place first
                kept[len(scores) - 1 - order[: min(number, int(eligible.sum()))]] = True
        return kept.view(label.shape[1:])

    def _weights(self, label: Tensor, classes: Tensor, kept: Tensor) -> Tensor:
        weights = torch.ones_like(label[:, 0])
        if self.field.iou_weighted:
            weights = torch.where(classes != 0, label[:, 5], weights)
        if self.field.pos_neg_weighted:
            positive, negative = weights[classes != 0].sum(), weights[(classes == 0) & kept].sum()
            share = 1 / (1 + self.field.bg_multiple)
            number = kept.sum() + (classes != 0).sum()
            if positive != 0:
                factor = torch.where(classes != 0, share * number / positive, (1 - share) * number / negative)
                weights = torch.where((classes != 0) | kept, weights * factor, weights)
        return weights
