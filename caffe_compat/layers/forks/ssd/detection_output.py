"""DetectionOutput of SSD (detection_output_layer.cpp of weiliu89/caffe, branch ssd).

Boxes are (xmin, ymin, xmax, ymax) in fractions of the image.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.boxes import DECODE, suppressed
from caffe_compat.layers.fields import enum_name, given, refuse_other_fields
from caffe_compat.layers.registry import register

log = logging.getLogger(__name__)


_DETECTION_FIELDS = (
    "num_classes",
    "share_location",
    "background_label_id",
    "nms_param",
    "save_output_param",
    "code_type",
    "keep_top_k",
    "variance_encoded_in_target",
    "confidence_threshold",
    "visualize",
    "visualize_threshold",
    "save_file",
)


@register("DetectionOutput")
class DetectionOutput(Layer):
    """Boxes decoded from predictions, less those that overlap a better one of their class: top (1, 1, K, 7).

    Bottoms: locations (N, priors * 4, times classes unless share_location), confidences (N, priors * classes), and the
    top of PriorBox. A row is (item, class, confidence, xmin, ymin, xmax, ymax); without any detection each item has one
    row of -1. No gradient. The files of save_output_param and the pictures of `visualize` are not written.
    """

    gradient = "none"
    bottoms = exactly(3)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.detection_output_param
        refuse_other_fields(self.name, "detection_output_param", field, _DETECTION_FIELDS)
        self.classes: int = field.num_classes
        self.share_location: bool = field.share_location
        self.background: int = field.background_label_id
        self.decode = DECODE[enum_name(field, "code_type")]
        self.variance_encoded_in_target: bool = field.variance_encoded_in_target
        self.keep_top_k: int = field.keep_top_k
        self.least: float = (
            given(field, "confidence_threshold") if field.HasField("confidence_threshold") else -math.inf
        )
        self.nms_threshold: float = field.nms_param.nms_threshold
        self.top_k: int = field.nms_param.top_k if field.nms_param.HasField("top_k") else -1
        self.eta: float = field.nms_param.eta
        if self.classes < 1 or self.nms_threshold < 0 or not 0 < self.eta <= 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': detection_output_param needs num_classes of 1 or more, nms_threshold of 0 or "
                f"more and eta in (0, 1]; found {self.classes}, {self.nms_threshold:g} and {self.eta:g}"
            )
        if field.HasField("save_output_param") or field.visualize:
            log.warning("layer '%s': save_output_param and visualize write files in Caffe; here they do not", self.name)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        locations, confidences, priors = bottom_shapes
        number = priors[2] // 4 if len(priors) > 2 and priors[0] else -1
        wanted = (number * 4 * (1 if self.share_location else self.classes), number * self.classes)
        if (math.prod(locations[1:]), math.prod(confidences[1:])) != wanted or locations[0] != confidences[0]:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {locations}, {confidences}, {priors}, wanted (N, "
                f"{wanted[0]}), (N, {wanted[1]}) and (1, 2, priors * 4)"
            )
        return [(1, 1, 1, 7)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        locations, confidences, priors = (bottom.cpu().numpy() for bottom in bottoms)
        prior, variance = priors[0].reshape(2, -1, 4)
        kinds = 1 if self.share_location else self.classes
        offsets = locations.reshape(len(locations), len(prior), kinds, 4).transpose(0, 2, 1, 3)
        boxes = self.decode(prior, offsets if self.variance_encoded_in_target else offsets * variance)
        scores = confidences.reshape(len(confidences), len(prior), self.classes).transpose(0, 2, 1)
        rows = [row for item in range(len(boxes)) for row in self._detections(item, boxes[item], scores[item])]
        if not rows:
            rows = [(item, *(-1,) * 6) for item in range(len(boxes))]
        values = np.array(rows, np.float64).reshape(-1, 7)
        return torch.tensor(values, dtype=bottoms[0].dtype, device=bottoms[0].device)[None, None]

    def _detections(self, item: int, boxes: np.ndarray, scores: np.ndarray) -> list[tuple[float, ...]]:
        """The rows of one item; boxes (1 or classes, priors, 4), scores (classes, priors)."""
        kept = [
            (scores[label, index], label, index)
            for label in range(self.classes)
            if label != self.background
            for index in self._suppressed(boxes[0 if self.share_location else label], scores[label])
        ]
        if -1 < self.keep_top_k < len(kept):
            best = sorted(kept, key=lambda entry: -entry[0])[: self.keep_top_k]
            kept = sorted(best, key=lambda entry: entry[1])
        return [
            (item, label, score, *boxes[0 if self.share_location else label, index]) for score, label, index in kept
        ]

    def _suppressed(self, boxes: np.ndarray, scores: np.ndarray) -> list[int]:
        """The boxes of one class that survive, best first (ApplyNMSFast)."""
        candidates = np.flatnonzero(scores > self.least)
        candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
        if self.top_k > -1:
            candidates = candidates[: self.top_k]
        kept = suppressed(boxes[candidates], scores[candidates], self.nms_threshold, self.eta)
        survivors: list[int] = candidates[kept].tolist()
        return survivors
