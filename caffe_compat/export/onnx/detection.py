"""Detection as ONNX: prior boxes as constants, decoding, NonMaxSuppression, pooling of regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from caffe_compat.export.onnx.program import Call, writes
from caffe_compat.export.writers import Inexpressible
from caffe_compat.layers.boxes import DECODE

_ALL = np.iinfo(np.int64).max


@writes("PriorBox")
def prior_box(call: Call) -> None:
    """The boxes follow from the shapes of the bottoms: what the layer gives for them is a constant."""
    boxes = call.layer(*(torch.empty(shape) for shape in call.bottoms)).numpy()
    call.op("Constant", [], call.outputs[0], value=call.program.onnx.numpy_helper.from_array(boxes))


@writes("DetectionOutput")
def detection_output(call: Call) -> None:
    """For every item: the best top_k of every class, NonMaxSuppression, the best keep_top_k; rows of all items."""
    layer = call.layer
    if layer.eta < 1:
        raise Inexpressible("its threshold shrinks by eta, which NonMaxSuppression cannot")
    if call.is_open:
        raise Inexpressible("it takes one item after another, for a batch of one size")
    items = call.bottoms[0][0]
    number = call.bottoms[2][2] // 4
    labels = [label for label in range(layer.classes) if label != layer.background]
    sides = 1 if layer.share_location else layer.classes
    boxes = _decoded(call, (items, number, sides, 4))
    scores = call.op("Transpose", [call.reshape(call.inputs[1], (items, number, layer.classes))], perm=(0, 2, 1))
    scores = call.op("Gather", [scores, call.constant(labels, np.int64)], axis=1)
    if not layer.share_location:
        boxes = call.op("Gather", [boxes, call.constant(labels, np.int64)], axis=1)
    rows = [_of_item(call, boxes, scores, item, labels, number) for item in range(items)]
    found = call.op("Concat", rows, axis=0) if items > 1 else rows[0]
    call.reshape(or_none(call, found, items), (1, 1, -1, 7), call.outputs[0])
    call.program.counted[call.outputs[0]] = (2,)


def _decoded(call: Call, shape: tuple[int, ...]) -> str:
    """The predicted boxes, (items, 1 or classes, priors, 4)."""
    layer = call.layer
    offsets = call.op("Transpose", [call.reshape(call.inputs[0], shape)], perm=(0, 2, 1, 3))
    priors = call.reshape(call.inputs[2], (2, -1, 4))
    prior, variance = (call.op("Gather", [priors, call.scalar(row, np.int64)], axis=0) for row in (0, 1))
    if not layer.variance_encoded_in_target:
        offsets = call.op("Mul", [offsets, variance])
    low, high = (columns(call, prior, first, first + 2) for first in (0, 2))
    if layer.decode is DECODE["CORNER"]:
        return call.op("Add", [prior, offsets])
    size = call.op("Sub", [high, low])
    if layer.decode is DECODE["CORNER_SIZE"]:
        return call.op("Add", [prior, call.op("Mul", [offsets, call.op("Concat", [size, size], axis=-1)])])
    middle = call.scaled(call.op("Add", [low, high]), 0.5)
    centre = call.op("Add", [call.op("Mul", [columns(call, offsets, 0, 2), size]), middle])
    half = call.scaled(call.op("Mul", [call.op("Exp", [columns(call, offsets, 2, 4)]), size]), 0.5)
    return call.op("Concat", [call.op("Sub", [centre, half]), call.op("Add", [centre, half])], axis=-1)


def columns(call: Call, value: str, first: int, end: int) -> str:
    """Columns of the last axis."""
    return call.op("Slice", [value, *(call.constant([each], np.int64) for each in (first, end, -1))])


def _of_item(call: Call, boxes: str, scores: str, item: int, labels: list[int], number: int) -> str:
    """The rows (item, class, confidence, box) of one item, (K, 7).

    Every class is an item of NonMaxSuppression, with its own best top_k boxes.
    """
    layer, classes = call.layer, len(labels)
    which = call.scalar(item, np.int64)
    own = call.op("Gather", [scores, which], axis=0)
    candidates = number if layer.top_k < 0 else min(layer.top_k, number)
    best, places = (f"{call.outputs[0]}:{item}:{part}" for part in ("best", "places"))
    call.op("TopK", [own, call.constant([candidates], np.int64)], [best, places], axis=1)
    planes = call.op("Gather", [boxes, which], axis=0)  # (1 or classes, priors, 4)
    if not layer.share_location:
        places = call.op("Add", [places, call.constant(number * np.arange(classes)[:, None], np.int64)])
    chosen = call.op("Gather", [call.reshape(planes, (-1, 4)), places], axis=0)
    kept = _survivors(call, chosen, call.reshape(best, (classes, 1, candidates)))
    pairs = call.op("Gather", [kept, call.constant([0, 2], np.int64)], axis=1)  # (class, place among candidates)
    confidence = call.op("GatherND", [best, pairs])
    pairs, confidence = _best(call, pairs, confidence, f"{call.outputs[0]}:{item}")
    label = call.op("Gather", [pairs, call.constant([0], np.int64)], axis=1)
    named = call.op("Gather", [call.constant(np.array(labels)), label], axis=0)
    score = call.reshape(confidence, (-1, 1))
    same = call.op("Add", [call.scaled(named, 0), call.constant(item)])
    return call.op("Concat", [same, named, score, call.op("GatherND", [chosen, pairs])], axis=1)


def _survivors(call: Call, boxes: str, scores: str) -> str:
    """NonMaxSuppression's rows (class, 0, place), best place of each class first.

    It orders the corners of a box, while one turned inside out overlaps nothing in Caffe: that one becomes a point.
    """
    layer = call.layer
    low, high = columns(call, boxes, 0, 2), columns(call, boxes, 2, 4)
    ordered = call.op("Concat", [low, call.op("Max", [low, high])], axis=-1)
    limits = [call.constant([_ALL >> 1], np.int64), call.constant([layer.nms_threshold])]
    if np.isfinite(layer.least):
        limits.append(call.constant([layer.least]))
    return call.op("NonMaxSuppression", [ordered, scores, *limits])


def _best(call: Call, pairs: str, confidence: str, name: str) -> tuple[str, str]:
    """The keep_top_k rows of highest confidence, in the order that they had."""
    if call.layer.keep_top_k < 0:
        return pairs, confidence
    count = call.op("Shape", [confidence])
    fewer = call.op("Min", [count, call.constant([call.layer.keep_top_k], np.int64)])
    call.op("TopK", [confidence, fewer], [f"{name}:highest", f"{name}:places of highest"], axis=0)
    order = f"{name}:in order"
    call.op("TopK", [f"{name}:places of highest", fewer], [order, f"{name}:turns"], axis=0, largest=0)
    return call.op("Gather", [pairs, order], axis=0), call.op("Gather", [confidence, order], axis=0)


def or_none(call: Call, rows: str, items: int) -> str:
    """`rows`, or where there is none one row (item, -1, ...) for each item."""
    count = call.op("Slice", [call.op("Shape", [rows]), *(call.constant([each], np.int64) for each in (0, 1))])
    empty = call.op("Cast", [call.op("Equal", [count, call.constant([0], np.int64)])], to=int64(call))
    end = call.op("Mul", [empty, call.constant([items], np.int64)])
    blank = np.full((items, 7), -1)
    blank[:, 0] = np.arange(items)
    first, axis = call.constant([0], np.int64), call.constant([0], np.int64)
    return call.op("Concat", [rows, call.op("Slice", [call.constant(blank), first, end, axis])], axis=0)


def int64(call: Call) -> Any:
    return call.program.onnx.TensorProto.INT64


@writes("ROIPooling")
def roi_pooling(call: Call) -> None:
    """MaxRoiPool has Fast R-CNN's bins."""
    layer = call.layer
    if call.bottoms[0][0] > 1 and call.is_open:
        raise Inexpressible("its regions name items of a batch whose size is open")
    regions = call.reshape(call.inputs[1], (-1, 5))
    if layer.pad_ratio:
        item, low, high = (columns(call, regions, *ends) for ends in ((0, 1), (1, 3), (3, 5)))
        pad = call.scaled(call.shifted(call.op("Sub", [high, low]), 1), float(layer.pad_ratio))
        regions = call.op("Concat", [item, call.op("Sub", [low, pad]), call.op("Add", [high, pad])], axis=1)
    options = {"pooled_shape": layer.pooled, "spatial_scale": float(layer.spatial_scale)}
    call.op("MaxRoiPool", [call.inputs[0], regions], call.outputs[0], **options)


@writes("PSROIPooling")
def psroi_pooling(call: Call) -> None:
    """The mean of a bin is a difference of four sums over all rows and columns before its corners, in float64."""
    layer, groups, double = call.layer, call.layer.group_size, call.program.onnx.TensorProto.DOUBLE
    if call.is_open:
        raise Inexpressible("its regions name items of a batch whose size is open")
    channels, height, width = call.bottoms[0][1:]
    sums = call.op("Cast", [call.inputs[0]], to=double)
    for axis in (2, 3):
        sums = call.op("CumSum", [sums, call.scalar(axis, np.int64)])
    sums = call.op("Pad", [sums, call.constant([0, 0, 1, 1, 0, 0, 0, 0], np.int64)])
    sums = call.reshape(sums, (-1,))
    regions = call.reshape(call.inputs[1], (-1, 5))
    item = call.op("Cast", [columns(call, regions, 0, 1)], to=int64(call))
    corners = _rounded(call, columns(call, regions, 1, 5))
    scale = float(layer.spatial_scale)
    start = call.scaled(columns(call, corners, 0, 2), scale)
    end = call.scaled(call.shifted(columns(call, corners, 2, 4), 1), scale)
    size = call.op("Max", [call.op("Sub", [end, start]), call.constant(0.1)])
    size = call.op("Div", [size, call.constant(float(groups))])
    across, down = (_edges(call, start, size, axis, extent) for axis, extent in ((0, width), (1, height)))
    plane = np.arange(channels).reshape(1, layer.outputs, groups, groups)
    first = call.op("Mul", [call.reshape(item, (-1, 1, 1, 1)), call.constant(channels, np.int64)])
    first = call.op("Add", [first, call.constant(plane, np.int64)])
    rows = call.op("Mul", [first, call.constant(height + 1, np.int64)])
    (left, right), (top, bottom) = across, down

    def at(row: str, column: str) -> str:
        place = call.op("Mul", [call.op("Add", [rows, row]), call.constant(width + 1, np.int64)])
        return call.op("Gather", [sums, call.op("Add", [place, column])], axis=0)

    total = call.op("Sub", [call.op("Sub", [at(bottom, right), at(top, right)]), at(bottom, left)])
    total = call.op("Add", [total, at(top, left)])
    area = call.op("Mul", [_length(call, top, bottom), _length(call, left, right)])
    least = call.op("Cast", [call.op("Max", [area, call.constant(1, np.int64)])], to=double)
    mean = call.op("Cast", [call.op("Div", [total, least])], to=call.program.onnx.TensorProto.FLOAT)
    filled = call.op("Greater", [area, call.constant(0, np.int64)])
    call.op("Where", [filled, mean, call.constant(0.0)], call.outputs[0])


def _rounded(call: Call, value: str) -> str:
    """C's round: halves go away from zero."""
    sign = call.op("Sign", [value])
    return call.op("Mul", [sign, call.op("Floor", [call.shifted(call.op("Abs", [value]), 0.5)])])


def _edges(call: Call, start: str, size: str, axis: int, extent: int) -> tuple[str, str]:
    """Where the bins start and end on one axis (0: columns), within the map: int64, (R, 1, 1 or bins, bins or 1)."""
    groups = call.layer.group_size
    shape = (-1, 1, 1, groups) if axis == 0 else (-1, 1, groups, 1)
    begins, length = (columns(call, each, axis, axis + 1) for each in (start, size))
    found = []
    for first, kind in ((0, "Floor"), (1, "Ceil")):
        steps = call.op("Mul", [length, call.constant(np.arange(first, first + groups)[None])])
        edge = call.op(kind, [call.op("Add", [steps, begins])])
        edge = call.op("Clip", [edge, call.constant(0.0), call.constant(float(extent))])
        found.append(call.reshape(call.op("Cast", [edge], to=int64(call)), shape))
    return found[0], found[1]


def _length(call: Call, first: str, last: str) -> str:
    return call.op("Max", [call.op("Sub", [last, first]), call.constant(0, np.int64)])
