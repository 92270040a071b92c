"""What layers take at the bottoms that a user feeds: one rule for each type and bottom that not every number suits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_compat.layers.base import Shape

IMAGE = 100.0  # height and width where no layer tells the image's
STRIDE = 16  # pixels from one value of a feature map to the next, where the layer does not tell


@dataclass(frozen=True)
class Use:
    """One bottom of one layer: `index` among its bottoms; the shapes of all of them and of its tops."""

    layer: Any
    index: int
    bottoms: tuple[Shape, ...]
    tops: tuple[Shape, ...]

    @property
    def choices(self) -> int:
        """How many values the bottom may have, as far as they are class labels; of several readers the least counts."""
        return classes(self) if self.layer.param.type in CLASSES and self.index == 1 else 1 << 30


Rule = Callable[[Use, np.random.RandomState, Shape], "np.ndarray | None"]


def classes(use: Use) -> int:
    """How many classes a loss or a measure tells apart."""
    return max(1, CLASSES[use.layer.param.type](use))


def _along_axis(use: Use) -> int:
    shape, axis = use.bottoms[0], getattr(use.layer, "axis", 1)
    return shape[axis if -len(shape) <= axis < len(shape) else 1]


def _of_a_row(use: Use) -> int:
    return math.prod(use.bottoms[0][1:])


def _of_weights(use: Use) -> int:
    return int(use.layer.blob_shapes[0][0])


CLASSES: dict[str, Callable[[Use], int]] = {
    "Accuracy": _along_axis, "FocalLoss": _along_axis, "InfogainLoss": _along_axis, "SegAccuracy": _along_axis,
    "SoftmaxWithLoss": _along_axis, "SoftmaxWithLossOHEM": _along_axis,
    "HingeLoss": _of_a_row, "LabelSpecificAdd": _of_a_row, "MultinomialLogisticLoss": _of_a_row,
    "CenterLoss": _of_weights, "LargeMarginInnerProduct": _of_weights, "MarginInnerProduct": _of_weights,
}  # fmt: skip


def label(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """A class for each place."""
    return random.randint(0, classes(use), shape)


def either(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """0 or 1, the first of them 1."""
    values: np.ndarray = random.randint(0, 2, shape)
    values.reshape(-1)[:1] = 1
    return values


def share(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """Above 0 and below 1, as a probability."""
    return random.uniform(0.05, 0.95, shape)


def weight(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """Above 0."""
    return random.uniform(0.5, 1.5, shape)


def item(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """A place on axis 0 of the first bottom."""
    return random.randint(0, max(use.bottoms[0][0], 1), shape)


def word(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """A row of the layer's weights."""
    return random.randint(0, _of_weights(use), shape)


def place(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """A place in the plane of the top, as the mask of a MAX pooling names it; each once as far as they go."""
    plane, area = math.prod(use.tops[0][2:]), math.prod(shape[2:])
    planes = [random.permutation(plane)[np.arange(area) % plane] for _ in range(math.prod(shape[:2]))]
    return np.array(planes)


def goes_on(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """0 in the first step, where every sequence begins, and 1 behind it."""
    values = np.ones(shape)
    if len(shape) > 1 and shape[0] > 1:
        values[0] = 0
    return values


def length(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """A number of steps."""
    return random.randint(1, max(use.bottoms[0][0], 1) + 1, shape)


def all_steps(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    return np.ones(shape)


def ctc(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """Labels without the blank; before them indicators, or lengths of streams and of labels."""
    steps, _, count = use.bottoms[0][:3]
    last = len(use.bottoms) - 1
    if use.index == last:
        drawn: np.ndarray = random.randint(0, max(count - 1, 1), shape)
        return np.where(drawn >= use.layer.blank % count, drawn + 1, drawn)
    if last == 2:
        return np.ones(shape)
    return np.full(shape, steps if use.index == 1 else min(use.bottoms[-1][0], steps))


def positive(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray | None:
    """x with scale x + shift above 0, for a logarithm or a broken power."""
    layer = use.layer
    if layer.param.type == "Power" and float(layer.power).is_integer() and layer.power >= 0:
        return None
    values: np.ndarray = (random.uniform(0.5, 1.5, shape) - layer.shift) / (layer.scale or 1)
    return values


def regions(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """Rows (item, x1, y1, x2, y2) in the pixels of the image."""
    count, items = math.prod(shape) // 5, 1
    height = width = IMAGE
    if use.index == 1 and len(use.bottoms[0]) == 4:
        items, scale = max(use.bottoms[0][0], 1), _spatial_scale(use.layer.param)
        height, width = (size / scale for size in use.bottoms[0][2:])
    corners = _corners(random, count, width - 1, height - 1)
    return np.column_stack([np.sort(random.randint(0, items, count)), corners])


def _corners(random: np.random.RandomState, count: int, width: float, height: float) -> np.ndarray:
    """Boxes (x1, y1, x2, y2) inside, no side shorter than a tenth."""
    first = random.uniform(0, 0.6, (count, 2))
    second = first + random.uniform(0.1, 0.4, (count, 2))
    return np.hstack([first, second]) * [width, height, width, height]


def _spatial_scale(param: Any) -> float:
    messages = [value for field, value in param.ListFields() if field.message_type is not None]
    scales = [float(each.spatial_scale) for each in messages if hasattr(each, "spatial_scale")]
    return next((scale for scale in scales if scale > 0), 1.0)


def true_regions(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """Rows of 7: item, box, class, ignored; of 6: class, box, overlap."""
    rows = regions(use, random, (math.prod(shape) // shape[1], 5))
    rows[:, 0] = 0 if shape[1] == 7 else 1
    ends = [np.ones(len(rows)), np.zeros(len(rows))] if shape[1] == 7 else [np.full(len(rows), 0.7)]
    return np.column_stack([rows, *ends])


def image_size(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray | None:
    """Rows (height, width, scale ...) of the image whose features are the first bottom."""
    features = use.bottoms[0]
    if len(features) != 4 or shape[-1:] == () or not 3 <= math.prod(shape[1:]) <= 6:
        return None
    stride = getattr(getattr(use.layer, "field", None), "feat_stride", 0) or STRIDE
    row = [features[2] * stride, features[3] * stride, *[1] * (math.prod(shape[1:]) - 2)]
    return np.tile(row, (shape[0], 1))


def priors(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """(1, 2, 4 K): boxes in a unit square, then variances."""
    boxes = _corners(random, math.prod(shape) // 8, 1, 1)
    return np.stack([boxes.reshape(-1), np.full(boxes.size, 0.1)])


def true_boxes(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """Rows of 8: item, class, instance, a box in a unit square, difficult."""
    count, items = math.prod(shape) // 8, max(use.bottoms[0][0], 1) if use.index == 3 else 1
    field = use.layer.param.multibox_loss_param if use.index == 3 else use.layer.param.detection_evaluate_param
    kinds = [kind for kind in range(field.num_classes) if kind != field.background_label_id] or [1]
    middle = [np.arange(count) * items // max(count, 1), random.choice(kinds, count), np.zeros(count)]
    return np.column_stack([*middle, _corners(random, count, 1, 1), np.zeros(count)])


def yolo_boxes(use: Use, random: np.random.RandomState, shape: Shape) -> np.ndarray:
    """Rows of 5: class, centre and size in a unit square."""
    count = math.prod(shape) // 5
    kinds = random.randint(0, max(use.layer.field.num_class, 1), (count, 1))
    return np.hstack([kinds, random.uniform(0.2, 0.8, (count, 2)), random.uniform(0.1, 0.4, (count, 2))])


_TABLE: dict[str, dict[int, Rule]] = {
    **{kind: {1: label} for kind in CLASSES},
    "MultinomialLogisticLoss": {0: share, 1: label},
    "InfogainLoss": {1: label, 2: weight},
    "SigmoidCrossEntropyLoss": {1: either, 2: weight},
    "ContrastiveLoss": {2: either}, "YoloSeg": {1: either, 2: weight}, "SegmentationEvaluate": {1: either},
    "SmoothL1Loss": {2: weight, 3: weight}, "SmoothL1LossOHEM": {2: weight}, "EuclideanLoss": {2: weight},
    "L1Loss": {2: weight},
    "BatchReindex": {1: item}, "Embed": {0: word}, "Filter": {-1: either}, "Upsample": {1: place},
    "MaxUnPool": {1: place},
    "LSTM": {1: goes_on}, "RNN": {1: goes_on}, "Lstm": {1: goes_on}, "LSTMUnit": {2: all_steps},
    "ReverseTime": {1: length}, "CTCGreedyDecoder": {1: all_steps}, "WarpCTCLoss": {1: ctc, 2: ctc, 3: ctc},
    "Log": {0: positive}, "Power": {0: positive},
    "ROIPooling": {1: regions}, "PSROIPooling": {1: regions}, "ROIAlign": {1: regions},
    "DeformablePSROIPooling": {1: regions},
    "BoxAnnotatorOHEM": {0: regions, 1: weight, 2: all_steps, 3: weight},
    "DecodeBBox": {1: regions, 2: true_regions}, "ProposalTarget": {0: regions, 1: true_regions},
    "BboxAccuracy": {1: regions, 2: true_regions},
    "Proposal": {0: share, 2: image_size}, "FrcnnProposal": {0: share, 2: image_size},
    "Python": {1: image_size, 2: image_size, 3: image_size},
    "DetectionOutput": {1: share, 2: priors}, "MultiBoxLoss": {2: priors, 3: true_boxes},
    "DetectionEvaluate": {1: true_boxes},
    "RegionLoss": {1: yolo_boxes}, "Yolov3": {1: yolo_boxes},
}  # fmt: skip


def rule_for(use: Use) -> Rule | None:
    """The rule for a use; None where any number will do."""
    rules = _TABLE.get(use.layer.param.type, {})
    last = use.index == len(use.bottoms) - 1
    return rules.get(use.index) or (rules.get(-1) if last else None)
