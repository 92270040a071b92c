"""The detection layers of MS-CNN: loss and accuracy of its dense heads, and the boxes that come out of them.

Source: detection_loss_layer.cpp, detection_accuracy_layer.cpp, box_output_layer.cpp, bbox_accuracy_layer.cpp and
decode_bbox_layer.cpp of zhaoweicai/mscnn.

A head's channels are class scores, class 0 the background, then x, y, w, h: the centre's shift from the middle of its
place in units of field_w and field_h, and the logarithms of width and height in those units. A label map's channels are
the class, the centre x, y, the width and height in pixels, and the overlap with the box that came nearest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.fields import given
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register

_COORDINATES = 4


def statistics(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """bbox_mean and bbox_std of bbox_reg_param, 0 and 1 where they are not given; float64 (4,)."""
    field = layer.param.bbox_reg_param
    if not (field.bbox_mean and field.bbox_std):
        return np.zeros(_COORDINATES), np.ones(_COORDINATES)
    mean, std = np.array(field.bbox_mean), np.array(field.bbox_std)
    if (mean.size, std.size) != (_COORDINATES, _COORDINATES) or (std <= 0).any():
        raise UnsupportedParameterError(
            f"layer '{layer.name}': bbox_reg_param needs four bbox_mean and four positive bbox_std"
        )
    return mean, std


def overlaps_by_size(box: np.ndarray, boxes: np.ndarray, mode: str = "IOU") -> np.ndarray:
    """Shared area of `box` with each of `boxes` (K, 4), all x, y, width, height, as a share of something (BoxIOU).

    IOU: of the union; IOMU: of the smaller of the two; IOFU: of `box`. A box without area shares nothing.
    """
    ends = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    solid = (boxes[:, 2:] > 0).all(1) & bool((box[2:] > 0).all())
    shared = np.where((ends > 0).all(1) & solid, ends.prod(1), 0)
    size, sizes = box[2:].prod(), boxes[:, 2:].prod(1)
    whole = {"IOMU": np.minimum(size, sizes), "IOFU": np.full_like(sizes, size)}.get(mode, size + sizes - shared)
    shares: np.ndarray = np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)
    return shares


def places(height: int, width: int, rate: float) -> np.ndarray:
    """The middle of every place of a map in pixels of the image: float64 (2, height, width), x then y."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack((columns + 0.5, rows + 0.5)) * rate


def predicted_boxes(head: np.ndarray, field: Any, size: tuple[float, float], rate: float) -> np.ndarray:
    """Boxes (N, 4, H, W), x, y of the corner, width, height in pixels, of a head's coordinates in natural units."""
    shift = head[:, :2].clip(-1 / field.field_xyr, 1 / field.field_xyr)
    logs = head[:, 2:4].clip(-math.log(field.field_whr), math.log(field.field_whr))
    scale = np.array(size)[:, None, None]
    extent = np.exp(logs) * scale
    centre = shift * scale + places(head.shape[2], head.shape[3], rate)
    return np.concatenate((centre - extent / 2, extent), 1)


class _Head(Layer):
    """What loss and accuracy of a head share: bottom 0 the head, bottom 1 its label map."""

    bottoms = exactly(2)

    def check_head(self, bottom_shapes: list[Shape], classes: int) -> None:
        head, label = bottom_shapes
        wanted = ((head[0], classes + _COORDINATES, *head[2:]), (head[0], _COORDINATES + 2, *head[2:]))
        if len(head) != 4 or (head, label) != wanted:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {head} and {label}, wanted {wanted[0]} and {wanted[1]}"
            )


@register("DetectionLoss")
class DetectionLoss(_Head, LossLayer):
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
        if self.field.coord_num != _COORDINATES:
            raise UnsupportedParameterError(f"layer '{self.name}': coord_num is {self.field.coord_num}; it must be 4")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_head(bottom_shapes, self.field.cls_num)
        return [(1, 1, 1, 2)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        head, label = bottoms[0], bottoms[1].detach()
        classes = label[:, 0].long()
        kept = torch.stack([self._background(item[0].detach(), item[1]) for item in zip(head, label, strict=True)])
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
        box_loss = self._box_loss(head[:, number:], label, foreground) * getattr(self.field, "lambda")
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
        loss: Tensor = losses.sum() / (foreground.sum() * _COORDINATES).clamp(min=1)
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
                hardest = scores.topk(min(number, int(eligible.sum()))).indices
                kept[hardest] = True
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


@register("DetectionAccuracy")
class DetectionAccuracy(_Head):
    """Top 0, (1, 1, 1, 2): the share of places whose class is among the top_k, and that of foreground places.

    Top 1: the mean overlap of predicted and true boxes of foreground places. -1 stands for no such place. No gradient.
    """

    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.detection_accuracy_param
        self.ignore_label: int | None = given(param.loss_param, "ignore_label")
        self.mean, self.std = statistics(self)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_head(bottom_shapes, self.field.cls_num)
        shapes: list[Shape] = [(1, 1, 1, 2), (1, 1, 1, 1)]
        return shapes[: len(self.param.top)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        head, label = (bottom.double().cpu().numpy() for bottom in bottoms)
        classes = label[:, 0].astype(np.int64)
        index = np.minimum(classes, 1) if self.field.objectness else classes
        counts = (index != 0) | (label[:, 5] < self.field.bg_threshold)
        foreground = classes != 0
        if self.ignore_label is not None:
            counts &= index != self.ignore_label
            foreground &= classes != self.ignore_label
        scores = head[:, : self.field.cls_num]
        own = np.take_along_axis(scores, index.clip(0, self.field.cls_num - 1)[:, None], 1)
        later = np.arange(self.field.cls_num)[None, :, None, None] > index[:, None]
        right = ((scores > own) | ((scores == own) & later)).sum(1) < self.field.top_k
        shares = [right[which].mean() if which.any() else -1.0 for which in (counts, counts & (index != 0))]
        accuracy = bottoms[0].new_tensor(shares).view(1, 1, 1, 2)
        if len(self.param.top) == 1:
            return accuracy
        return accuracy, bottoms[0].new_tensor(self._overlap(head, label, foreground)).view(1, 1, 1, 1)

    def _overlap(self, head: np.ndarray, label: np.ndarray, foreground: np.ndarray) -> float:
        """The mean overlap at the places `foreground`; -1 where there is none."""
        size = (self.field.field_w, self.field.field_h)
        natural = head[:, self.field.cls_num :] * self.std[:, None, None] + self.mean[:, None, None]
        boxes = predicted_boxes(natural, self.field, size, self.field.downsample_rate).transpose(0, 2, 3, 1)[foreground]
        truth = label[:, 1:5].transpose(0, 2, 3, 1)[foreground]
        truth[:, :2] -= truth[:, 2:] / 2
        found = [overlaps_by_size(box, true[None])[0] for box, true in zip(boxes, truth, strict=True)]
        return float(np.mean(found)) if found else -1.0
