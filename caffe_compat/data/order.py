"""Random draws that depend only on a seed and a position, so that any batch can be made again."""

from __future__ import annotations

import numpy as np


def generator(*position: int) -> np.random.Generator:
    """A generator for one place: the same numbers give the same draws, on every machine and in every thread."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(position)))


def permutation(count: int, *position: int) -> np.ndarray:
    """An order of `count` things, int64, that depends on `position` only."""
    return generator(*position).permutation(count)
