"""How far the outputs of an exported net are from those of the net itself."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from caffe_compat.errors import GraphError

DETECTIONS = frozenset({"DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput"})
_SCORE = 2  # the column of a row (item, class, score, box)


def relative_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference over the largest value of `wanted`; inf where the sizes differ, 0 for empty arrays.

    Both may be of any shapes that hold the same values in the same order.
    """
    if found.size != wanted.size:
        return float("inf")
    largest = max(float(np.abs(wanted).max(initial=0)), 1e-30)
    return float(np.abs(found.reshape(wanted.shape) - wanted).max(initial=0)) / largest


def check_outputs(
    path: str | os.PathLike[str],
    found: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    tolerance: float,
    detections: Collection[str] = (),
) -> dict[str, float]:
    """{output: its `relative_difference`} of what the file `path` gave to what the net gives, in the order of `found`.

    detections: outputs that are rows of boxes, best first, whose order may differ where scores differ by rounding.
    GraphError for the first output of another shape, or off by more than `tolerance`, or that is no number.
    """
    differences = {}
    for name, values in found.items():
        if values.shape != wanted[name].shape:
            raise GraphError(
                f"{os.fspath(path)}: output '{name}' has shape {values.shape}; the net gives {wanted[name].shape}"
            )
        if name in detections:
            values = in_order_of(values, wanted[name], tolerance)
        differences[name] = relative_difference(values, wanted[name])
        if not differences[name] <= tolerance:
            raise GraphError(
                f"{os.fspath(path)}: output '{name}' is off by {differences[name]:.3g} of its largest value; "
                f"at most {tolerance:g} is wanted"
            )
    return differences


def detections_of(net: Any) -> frozenset[str]:
    """The blobs of a Net that are rows of detections."""
    return frozenset(top.name for node, layer in net.steps if layer.param.type in DETECTIONS for top in node.tops)


def in_order_of(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    """Rows of detections (1, 1, K, 7) in the order of `wanted`, as far as scores allow that.

    A row moves only past rows whose score is its own within `tolerance`, so that nothing else is hidden.
    """
    if found.shape != wanted.shape or found.shape[-1] <= _SCORE:
        return found
    rows, right = found.reshape(-1, found.shape[-1]).copy(), wanted.reshape(-1, found.shape[-1])
    limit = tolerance * float(np.abs(wanted).max(initial=0))
    for place in np.nonzero((np.abs(rows - right) > limit).any(1))[0]:
        near = np.abs(rows[place:, _SCORE] - rows[place, _SCORE]) <= tolerance
        same = (np.abs(rows[place:] - right[place]) <= limit).all(1)
        others = np.nonzero(near & same)[0]
        if others.size:
            rows[[place, place + others[0]]] = rows[[place + others[0], place]]
    return rows.reshape(found.shape)
