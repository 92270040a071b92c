"""Local response normalization, batch normalization and MVN by plain loops, float64."""

from __future__ import annotations

import math

import numpy as np


def lrn_across(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    top, half = np.empty_like(x), size // 2
    for n, c, h, w in np.ndindex(*x.shape):
        total = sum(x[n, i, h, w] ** 2 for i in range(c - half, c + half + 1) if 0 <= i < x.shape[1])
        top[n, c, h, w] = x[n, c, h, w] * (k + alpha / size * total) ** -beta
    return top


def lrn_within(x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    """The mean over size * size neighbours, those outside the plane counted as zeros; no k."""
    top, half = np.empty_like(x), size // 2
    for n, c, h, w in np.ndindex(*x.shape):
        total = 0.0
        for i in range(max(h - half, 0), min(h + half + 1, x.shape[2])):
            for j in range(max(w - half, 0), min(w + half + 1, x.shape[3])):
                total += x[n, c, i, j] ** 2
        top[n, c, h, w] = x[n, c, h, w] * (1 + alpha * total / size**2) ** -beta
    return top


def channel_statistics(x: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and variance (of the whole set, not unbiased) of every channel of axis 1."""
    means, variances = [], []
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].flat]
        mean = sum(values) / len(values)
        means.append(mean)
        variances.append(sum((v - mean) ** 2 for v in values) / len(values))
    return means, variances


def mean_variance(x: np.ndarray, across: bool, divide: bool, eps: float) -> np.ndarray:
    """MVN: each (batch, channel) plane by itself, or each batch entry with `across`."""
    top = np.empty_like(x)
    for index in np.ndindex(*x.shape[: 1 if across else 2]):
        values = [float(v) for v in x[index].flat]
        mean = sum(values) / len(values)
        std = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        top[index] = (x[index] - mean) / (std + eps if divide else 1)
    return top
