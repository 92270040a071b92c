"""Boxes (xmin, ymin, xmax, ymax) in fractions of the image: their codes, their overlaps, who survives suppression.

Source: bbox_util.cpp of weiliu89/caffe, branch ssd. All arrays are NumPy, boxes (K, 4).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Coder = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _decode_corners(prior: np.ndarray, offset: np.ndarray) -> np.ndarray:
    decoded: np.ndarray = prior + offset
    return decoded


def _decode_corners_by_size(prior: np.ndarray, offset: np.ndarray) -> np.ndarray:
    decoded: np.ndarray = prior + offset * np.tile(prior[:, 2:] - prior[:, :2], 2)
    return decoded


def _decode_center_and_size(prior: np.ndarray, offset: np.ndarray) -> np.ndarray:
    size = prior[:, 2:] - prior[:, :2]
    center = offset[..., :2] * size + (prior[:, :2] + prior[:, 2:]) / 2
    half = np.exp(offset[..., 2:]) * size / 2
    return np.concatenate((center - half, center + half), -1)


DECODE: dict[str, Coder] = {
    "CORNER": _decode_corners,
    "CORNER_SIZE": _decode_corners_by_size,
    "CENTER_SIZE": _decode_center_and_size,
}


def _encode_corners(prior: np.ndarray, box: np.ndarray) -> np.ndarray:
    encoded: np.ndarray = box - prior
    return encoded


def _encode_corners_by_size(prior: np.ndarray, box: np.ndarray) -> np.ndarray:
    encoded: np.ndarray = (box - prior) / np.tile(prior[:, 2:] - prior[:, :2], 2)
    return encoded


def _encode_center_and_size(prior: np.ndarray, box: np.ndarray) -> np.ndarray:
    size = prior[:, 2:] - prior[:, :2]
    shift = (box[:, :2] + box[:, 2:] - prior[:, :2] - prior[:, 2:]) / 2 / size
    return np.concatenate((shift, np.log((box[:, 2:] - box[:, :2]) / size)), 1)


ENCODE: dict[str, Coder] = {
    "CORNER": _encode_corners,
    "CORNER_SIZE": _encode_corners_by_size,
    "CENTER_SIZE": _encode_center_and_size,
}


def overlaps(box: np.ndarray, boxes: np.ndarray, pixel: float = 0) -> np.ndarray:
    """The Jaccard overlap of one box with each of `boxes` (K, 4); a box turned inside out has size 0.

    pixel: what a side is longer than the difference of its ends: 1 for boxes in whole pixels.
    """
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]) + pixel
    shared = np.where((sides > 0).all(1), sides.prod(1), 0)
    size, sizes = (_size(b, pixel) for b in (box, boxes))
    union = size + sizes - shared
    shares: np.ndarray = shared / np.where(shared > 0, union, 1)
    return shares


def _size(boxes: np.ndarray, pixel: float) -> np.ndarray:
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.where((sides >= 0).all(-1), (sides + pixel).prod(-1), 0)


def suppressed(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, eta: float = 1, most: int = -1, pixel: float = 0
) -> list[int]:
    """The boxes that survive, best score first: those that overlap no better survivor by more than `threshold`.

    eta: the threshold shrinks by it after each survivor while it is above 0.5. most: stop at that many; -1 for all.
    """
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if len(kept) == most:
            break
        if kept and overlaps(boxes[index], boxes[kept], pixel).max() > threshold:
            continue
        kept.append(index)
        if eta < 1 and threshold > 0.5:
            threshold *= eta
    return kept
