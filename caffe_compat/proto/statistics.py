"""What the values of a blob are like, part by part, so that a large one is never whole in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_AT_ONCE = 1 << 20  # values that are copied together


@dataclass(frozen=True)
class Statistics:
    """Of the values of a blob, those that are finite: least, greatest, mean, standard deviation; share of zeros.

    not_finite: how many values are NaN or infinite.
    """

    least: float
    greatest: float
    mean: float
    deviation: float
    zeros: float
    not_finite: int


def measure(array: np.ndarray) -> Statistics:
    """The Statistics of an array of any shape."""
    values = np.asarray(array).reshape(-1)
    return measure_parts(values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE))


def measure_parts(parts: Iterable[np.ndarray]) -> Statistics:
    """The Statistics of all values of `parts`, summed in float64."""
    count = zeros = bad = 0
    total = squares = 0.0
    least, greatest = math.inf, -math.inf
    for part in parts:
        values = np.asarray(part).reshape(-1)
        finite = np.isfinite(values)
        bad += values.size - int(finite.sum())
        values = values[finite].astype(np.float64)
        if values.size:
            count += values.size
            zeros += int((values == 0).sum())
            total += float(values.sum())
            squares += float(np.square(values).sum())
            least, greatest = min(least, float(values.min())), max(greatest, float(values.max()))
    if not count:
        return Statistics(math.nan, math.nan, math.nan, math.nan, 0.0, bad)
    mean = total / count
    return Statistics(least, greatest, mean, math.sqrt(max(squares / count - mean * mean, 0.0)), zeros / count, bad)
