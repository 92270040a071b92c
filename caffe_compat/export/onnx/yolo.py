"""YOLO's detections as ONNX: cells as boxes, then one NonMaxSuppression over all heads, items and classes."""

from __future__ import annotations

import numpy as np

from caffe_compat.export.onnx.detection import columns, or_none
from caffe_compat.export.onnx.program import Call, writes
from caffe_compat.export.writers import Inexpressible

Head = tuple[
    str, str, str, str
]  # of its candidates: corners (N, 4), classes from 0 (N, 1), scores (N, 1), whether kept


@writes("YoloDetectionOutput")
def yolo_detection_output(call: Call) -> None:
    """A box a candidate: of its best class, where objectness times that probability is high enough."""
    _write_rows(call, [_head_of_version_2(call, level) for level in range(len(call.inputs))])


def _head_of_version_2(call: Call, level: int) -> Head:
    layer = call.layer
    cells = _cells(call, level, layer.boxes, 5 + layer.classes)
    height, width = call.bottoms[level][2:]
    own = call.op("Sigmoid", [columns(call, cells, 4, 5)])
    classes = columns(call, cells, 5, 5 + layer.classes)
    best = call.op("ReduceMax", [call.op("Softmax", [classes], axis=-1)], axes=[-1], keepdims=1)
    score = call.reshape(call.op("Mul", [own, best]), (-1, 1))
    named = call.op("Cast", [call.op("ArgMax", [classes], axis=-1, keepdims=1)], to=1)
    boxes = _corners(call, level, (cells, cells), layer.biases / (width, height))
    kept = call.op("GreaterOrEqual", [score, call.constant(layer.least)])
    return boxes, call.reshape(named, (-1, 1)), score, call.reshape(kept, (-1,))


@writes("Yolov3DetectionOutput")
def yolov3_detection_output(call: Call) -> None:
    """A candidate for each class of each box, where its probability times objectness is above the threshold."""
    _write_rows(call, [_head_of_version_3(call, level) for level in range(len(call.inputs))])


def _head_of_version_3(call: Call, level: int) -> Head:
    layer, classes, behind = call.layer, call.layer.classes, call.layer.coordinates
    height, width = call.bottoms[level][2:]
    cells = _cells(call, level, layer.field.num_box, behind + 1 + classes)
    own = call.op("Sigmoid", [columns(call, cells, behind, behind + 1)])
    placed = sized = cells
    if layer.field.gaussian_box:  # value, uncertainty, value, uncertainty, ...
        values, unsure = (_every_other(call, cells, first) for first in (0, 1))
        doubt = call.op("ReduceSum", [call.op("Sigmoid", [unsure]), call.constant([-1], np.int64)], keepdims=1)
        own = call.op("Mul", [own, call.scaled(call.op("Sub", [call.constant(4.0), doubt]), 0.25)])
        placed = sized = values
    pixels = layer.field.anchors_scale[level] * np.array([width, height])
    boxes = _corners(call, level, (placed, sized), layer.anchors[level] / pixels)
    scores = call.op("Mul", [call.op("Sigmoid", [columns(call, cells, behind + 1, behind + 1 + classes)]), own])
    scores = call.reshape(scores, (-1, 1))
    number = int(np.prod(call.bottoms[level][2:])) * call.bottoms[level][0] * layer.field.num_box
    wide = call.op("Expand", [call.reshape(boxes, (-1, 1, 4)), call.constant([number, classes, 4], np.int64)])
    named = call.constant(np.tile(np.arange(classes), number)[:, None])
    kept = call.op("Greater", [scores, call.constant(layer.field.confidence_threshold)])
    return call.reshape(wide, (-1, 4)), named, scores, call.reshape(kept, (-1,))


def _cells(call: Call, level: int, boxes: int, length: int) -> str:
    """A head (N, boxes * length, H, W) as (N, H, W, boxes, length), the order in which its boxes compete."""
    if call.is_open:
        raise Inexpressible("boxes of all items compete, for a batch of one size")
    items, _, height, width = call.bottoms[level]
    return call.op("Transpose", [call.reshape(call.inputs[level], (items, boxes, length, height, width))],
                   perm=(0, 3, 4, 1, 2))  # fmt: skip


def _every_other(call: Call, cells: str, first: int) -> str:
    """Of the eight values that a box of uncertain place begins with, four: its place (first 0), their doubts (1)."""
    return call.op("Slice", [cells, *(call.constant([each], np.int64) for each in (first, 8, -1, 2))])


def _corners(call: Call, level: int, cells: tuple[str, str], sizes: np.ndarray) -> str:
    """Boxes (N, 4) in fractions of the image from x, y and the logs of width and height over `sizes` (boxes, 2)."""
    height, width = call.bottoms[level][2:]
    rows, across = np.mgrid[:height, :width]
    origin = np.stack((across, rows), -1)[None, :, :, None]
    middle = call.op("Add", [call.op("Sigmoid", [columns(call, cells[0], 0, 2)]), call.constant(origin)])
    middle = call.op("Mul", [middle, call.constant(1 / np.array([width, height]))])
    half = call.op("Mul", [call.op("Exp", [columns(call, cells[1], 2, 4)]), call.constant(sizes / 2)])
    ends = [call.op(kind, [middle, half]) for kind in ("Sub", "Add")]
    return call.reshape(call.op("Concat", ends, axis=-1), (-1, 4))


def _write_rows(call: Call, heads: list[Head]) -> None:
    """The rows (0, class + 1, score, corners) of the candidates that survive, best first; or one of -1 an item."""
    *parts, kept = (call.op("Concat", part, axis=0) if len(heads) > 1 else part[0] for part in zip(*heads, strict=True))
    places = call.reshape(call.op("NonZero", [kept]), (-1,))
    boxes, named, scores = (call.op("Gather", [part, places], axis=0) for part in parts)
    # NonMaxSuppression drops what overlaps by more than its threshold, the fork what overlaps by as much
    limit = np.nextafter(np.float32(call.layer.nms_threshold), np.float32(-1))
    limits = [call.constant([np.iinfo(np.int64).max >> 1], np.int64), call.constant([limit])]
    survivors = call.op(
        "NonMaxSuppression", [call.reshape(boxes, (1, -1, 4)), call.reshape(scores, (1, 1, -1)), *limits]
    )
    order = call.op("Gather", [survivors, call.scalar(2, np.int64)], axis=1)
    boxes, named, scores = (call.op("Gather", [each, order], axis=0) for each in (boxes, named, scores))
    found = call.op("Concat", [call.scaled(scores, 0), call.shifted(named, 1), scores, boxes], axis=1)
    call.reshape(or_none(call, found, call.bottoms[0][0]), (1, 1, -1, 7), call.outputs[0])
    call.program.counted[call.outputs[0]] = (2,)
