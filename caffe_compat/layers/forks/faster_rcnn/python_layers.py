"""What stands in for py-faster-rcnn's Python layers where its `lib` folder is not there (rbgirshick/py-faster-rcnn).

ProposalLayer runs, with the settings of py-faster-rcnn's config.py. The layers that draw samples, and the one that
reads images, are built for their shapes.
"""

from __future__ import annotations

import ast
import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.boxes import suppressed
from caffe_compat.layers.forks.faster_rcnn.proposal import moved_anchors
from caffe_compat.layers.python_modules import AbsentData, stands_in
from caffe_compat.layers.shapes_only import ShapesOnly

_TARGETS = ("bbox_targets", "bbox_inside_weights", "bbox_outside_weights", "bbox_loss_weights")


_BASE, _RATIOS, _SCALES = 16, (0.5, 1.0, 2.0), (8, 16, 32)


_MIN_SIZE, _OVERLAP = 16, 0.7


_BEFORE, _AFTER = {"TRAIN": 12000, "TEST": 6000}, {"TRAIN": 2000, "TEST": 300}  # boxes before and after suppression


def settings(layer: Layer) -> dict[str, Any]:
    """The param_str of a layer, "'feat_stride': 16" with or without braces, as a dictionary."""
    text = layer.param.python_param.param_str.strip()
    try:
        found = ast.literal_eval(text if text.startswith("{") else "{" + text + "}")
        if isinstance(found, dict):
            return found
    except (SyntaxError, ValueError):
        pass
    raise UnsupportedParameterError(f"layer '{layer.name}': python_param.param_str {text!r} is no dictionary")


def anchors(scales: Any) -> np.ndarray:
    """generate_anchors.py: float64 (3 * scales, 4), the sides of each ratio rounded before they are scaled."""
    centre, rows = (_BASE - 1) / 2, []
    for ratio in _RATIOS:
        width = np.round(math.sqrt(_BASE * _BASE / ratio))
        for scale in scales:
            half = (np.array([width, np.round(width * ratio)]) * scale - 1) / 2
            rows.append(np.concatenate((centre - half, centre + half)))
    return np.array(rows)


@stands_in("rpn.proposal_layer", "ProposalLayer")
class ProposalLayer(Layer):
    """Regions of one image, (K, 5) rows (0, x1, y1, x2, y2), best first, and as second top their scores (K, 1, 1, 1).

    Bottoms: probabilities (1, 2 * anchors, H, W), offsets (1, 4 * anchors, H, W), and (height, width, scale) of the
    image. Boxes are cut at the image and left out where a side is below 16 * scale; of the 12000 best (TEST: 6000) the
    2000 (300) best stay that overlap none better by more than 0.7. No gradient.
    """

    gradient = "none"
    bottoms = exactly(3)
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        given = settings(self)
        self.stride = int(given.get("feat_stride", 0))
        self.anchors = anchors(given.get("scales", _SCALES))
        if self.stride < 1 or set(given) - {"feat_stride", "scales"}:
            raise UnsupportedParameterError(
                f"layer '{self.name}': python_param.param_str has {sorted(given)}; wanted feat_stride, and maybe scales"
            )

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        return f"there is no Python module '{param.python_param.module}'; one like py-faster-rcnn's takes its place"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, offsets, image = bottom_shapes
        number = len(self.anchors)
        if len(scores) != 4 or scores[1] != 2 * number or offsets != (scores[0], 4 * number, *scores[2:]):
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {scores} and {offsets}, wanted (1, {2 * number}, H, W) and "
                f"(1, {4 * number}, H, W)"
            )
        if math.prod(image) < 3:
            raise ShapeError(f"layer '{self.name}': '{self.param.bottom[2]}' {image} must be height, width and scale")
        shapes: list[Shape] = [(1, 5), (1, 1, 1, 1)]
        return shapes[: len(self.param.top)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        if bottoms[0].shape[0] != 1:
            raise DataError(f"layer '{self.name}': a batch of {bottoms[0].shape[0]}; it takes one image at a time")
        scores, offsets = (bottom[0].double().cpu().numpy() for bottom in bottoms[:2])
        height, width, scale = bottoms[2].flatten().tolist()[:3]
        boxes = moved_anchors(self.anchors, offsets, self.stride, (height, width))
        own = scores[len(self.anchors) :].transpose(1, 2, 0).reshape(-1)
        large = (boxes[:, 2:] - boxes[:, :2] + 1 >= _MIN_SIZE * scale).all(1)
        boxes, own = boxes[large], own[large]
        best = np.argsort(-own, kind="stable")[: _BEFORE[self.context.phase]]
        kept = best[suppressed(boxes[best], own[best], _OVERLAP, most=_AFTER[self.context.phase], pixel=1)]
        rois = bottoms[0].new_tensor(np.insert(boxes[kept], 0, 0, 1))
        if len(self.param.top) == 1:
            return rois
        return rois, bottoms[0].new_tensor(own[kept]).view(-1, 1, 1, 1)


class _Sampler(ShapesOnly):
    reason = "it draws a sample as its own settings say; put py-faster-rcnn's folder beside the net"


@stands_in("rpn.anchor_target_layer", "AnchorTargetLayer")
class AnchorTargetLayer(_Sampler):
    """Labels (1, 1, anchors * H, W), and box targets and two weights (1, 4 * anchors, H, W) of the region proposals."""

    bottoms = exactly(4)
    tops = exactly(4)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        height, width = bottom_shapes[0][2:]
        number = len(anchors(settings(self).get("scales", _SCALES)))
        return [(1, 1, number * height, width), *[(1, 4 * number, height, width)] * 3]


@stands_in("rpn.proposal_target_layer", "ProposalTargetLayer")
class ProposalTargetLayer(_Sampler):
    """Sampled regions (1, 5), their classes (1, 1, 1, 1), and box targets and two weights (1, 4 * num_classes, 1, 1).

    The axes of size 1 are py-R-FCN's; py-faster-rcnn's own layer has none of them.
    """

    bottoms = exactly(2)
    tops = exactly(5)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        width = 4 * int(settings(self).get("num_classes", 1))
        return [(1, 5), (1, 1, 1, 1), *[(1, width, 1, 1)] * 3]


@stands_in("roi_data_layer.layer", "RoIDataLayer")
class RoIDataLayer(AbsentData):
    """Images with their boxes: the shapes that py-faster-rcnn's layer starts with, by the names of the tops.

    With gt_boxes one image, as region proposals are trained on; without two, with regions and their targets.
    """

    fed: ClassVar[bool] = True

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        width = 4 * int(settings(self).get("num_classes", 1))
        images = 1 if "gt_boxes" in self.param.top else 2
        shapes: dict[str, Shape] = {
            "data": (images, 3, 600, 1000), "im_info": (1, 3), "gt_boxes": (1, 4), "rois": (1, 5), "labels": (1,),
            **dict.fromkeys(_TARGETS, (1, width)),
        }  # fmt: skip
        if not set(self.param.top) <= set(shapes):
            return super().top_shapes(bottom_shapes)
        return [shapes[top] for top in self.param.top]
