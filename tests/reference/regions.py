"""Pooling of regions and detection by plain loops, as Fast R-CNN, R-FCN and SSD define them, float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

ROIS = torch.tensor(
    [
        [0, 0, 0, 40, 28],
        [1, 8, 4, 30, 20],
        [1, -16, -8, 10, 12],  # reaches out of the image
        [0, 24, 12, 200, 100],
        [0, 20, 20, 10, 10],  # turned inside out: one place
        [1, 500, 500, 600, 600],  # outside: empty bins
    ],
    dtype=torch.float64,
)
SCALE = 0.25


def _round(value: float) -> int:
    return int(math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1))


def _clip(value: int, extent: int) -> int:
    return min(max(value, 0), extent)


def roi_pooling(features: np.ndarray, rois: np.ndarray, pooled: tuple[int, int], scale: float) -> np.ndarray:
    _, channels, height, width = features.shape
    top = np.zeros((len(rois), channels, *pooled))
    for r, (item, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (_round(corner * scale) for corner in corners)
        bin_h, bin_w = max(y2 - y1 + 1, 1) / pooled[0], max(x2 - x1 + 1, 1) / pooled[1]
        for c in range(channels):
            for i in range(pooled[0]):
                for j in range(pooled[1]):
                    rows = range(
                        _clip(math.floor(i * bin_h) + y1, height), _clip(math.ceil((i + 1) * bin_h) + y1, height)
                    )
                    columns = range(
                        _clip(math.floor(j * bin_w) + x1, width), _clip(math.ceil((j + 1) * bin_w) + x1, width)
                    )
                    values = [features[int(item), c, h, w] for h in rows for w in columns]
                    top[r, c, i, j] = max(values, default=0)
    return top


def psroi_pooling(features: np.ndarray, rois: np.ndarray, outputs: int, group: int, scale: float) -> np.ndarray:
    _, _, height, width = features.shape
    top = np.zeros((len(rois), outputs, group, group))
    for r, (item, *corners) in enumerate(rois):
        x1, y1 = (_round(corner) * scale for corner in corners[:2])
        x2, y2 = ((_round(corner) + 1) * scale for corner in corners[2:])
        bin_h, bin_w = max(y2 - y1, 0.1) / group, max(x2 - x1, 0.1) / group
        for k in range(outputs):
            for i in range(group):
                for j in range(group):
                    rows = range(
                        _clip(math.floor(i * bin_h + y1), height), _clip(math.ceil((i + 1) * bin_h + y1), height)
                    )
                    columns = range(
                        _clip(math.floor(j * bin_w + x1), width), _clip(math.ceil((j + 1) * bin_w + x1), width)
                    )
                    plane = features[int(item), (k * group + i) * group + j]
                    values = [plane[h, w] for h in rows for w in columns]
                    top[r, k, i, j] = sum(values) / len(values) if values else 0
    return top


def overlap(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(sizes) - width * height)


def suppressed(boxes: list[list[float]], scores: list[float], least: float, most: float, top_k: int) -> list[int]:
    """Greedy suppression: the indices that stay, best first."""
    order = sorted((i for i in range(len(boxes)) if scores[i] > least), key=lambda i: -scores[i])[:top_k]
    kept: list[int] = []
    for i in order:
        if all(overlap(boxes[i], boxes[other]) <= most for other in kept):
            kept.append(i)
    return kept


def between(plane: Tensor, y: float, x: float) -> float:
    """The plane read at (y, x), held at its last row and column."""
    height, width = plane.shape
    y, x = min(y, height - 1), min(x, width - 1)
    top, left = math.floor(y), math.floor(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    first = (1 - u) * plane[top, left] + u * plane[top, right]
    second = (1 - u) * plane[below, left] + u * plane[below, right]
    return float((1 - v) * first + v * second)
