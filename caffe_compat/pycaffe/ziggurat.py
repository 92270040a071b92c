"""Normal numbers from 32-bit ones as Boost draws them: Marsaglia and Tsang's ziggurat (boost/random, 1.56 and later).

A draw takes 8 bits for sign and layer and 24 for the place in it; about one in eighty needs more draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

_NORMAL_END, _EXPONENTIAL_END = 3.4426198558966521214, 7.6971174701310497140
_UNIT = np.float32(2.0**-24)
Draw = Callable[[], int]


@cache
def normal_table() -> tuple[np.ndarray, np.ndarray]:
    """The right ends of the 128 layers, 129 of them falling to 0, and the density there; float64."""
    area = _NORMAL_END * math.exp(-(_NORMAL_END**2) / 2) + math.sqrt(math.pi / 2) * math.erfc(
        _NORMAL_END / math.sqrt(2)
    )
    ends = [area / math.exp(-(_NORMAL_END**2) / 2), _NORMAL_END]
    while len(ends) < 128:
        ends.append(math.sqrt(-2 * math.log(math.exp(-(ends[-1] ** 2) / 2) + area / ends[-1])))
    ends.append(0.0)
    return np.array(ends), np.array([0.0, *(math.exp(-end * end / 2) for end in ends[1:])])


@cache
def exponential_table() -> tuple[np.ndarray, np.ndarray]:
    """The same for exp(-x) in 256 layers."""
    area = (_EXPONENTIAL_END + 1) * math.exp(-_EXPONENTIAL_END)
    ends = [_EXPONENTIAL_END + 1, _EXPONENTIAL_END]
    while len(ends) < 256:
        ends.append(-math.log(math.exp(-ends[-1]) + area / ends[-1]))
    ends.append(0.0)
    return np.array(ends), np.array([0.0, *(math.exp(-end) for end in ends[1:])])


def places(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The low 8 bits of 32-bit numbers, and the other 24 as float32 in [0, 1)."""
    return (raw & 0xFF).astype(np.intp), (raw >> 8).astype(np.float32) * _UNIT


def direct_normals(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The normal number that each 32-bit number gives by itself, float32, and whether it does."""
    ends = normal_table()[0]
    bits, unit = places(raw)
    layers = bits >> 1
    values = unit * ends[layers].astype(np.float32)
    signs = ((bits & 1) * 2 - 1).astype(np.float32)
    return values * signs, values < ends[layers + 1]


def normal_after(first: int, draw: Draw) -> np.float32:
    """The normal number that begins with the 32-bit number `first`, with as many more as it needs."""
    ends, density = normal_table()
    while True:
        layer, sign = (first & 0xFF) >> 1, np.float32((first & 1) * 2 - 1)
        value = np.float32(first >> 8) * _UNIT * np.float32(ends[layer])
        if value < ends[layer + 1]:
            return np.float32(value * sign)
        if layer == 0:
            return np.float32(_tail(draw) * sign)
        height = np.float32(density[layer]) + _unit(draw) * np.float32(density[layer + 1] - density[layer])
        if height < np.float32(math.exp(-float(value) * float(value) / 2)):
            return np.float32(value * sign)
        first = draw()


def _tail(draw: Draw) -> np.float32:
    """A normal number beyond the last layer: exponential ones, some of them refused."""
    end = np.float32(_NORMAL_END)
    while True:
        x = np.float32(_exponential(draw) / end)
        y = _exponential(draw)
        if 2 * y > x * x:
            return np.float32(x + end)


def _exponential(draw: Draw) -> np.float32:
    ends, density = exponential_table()
    shift = np.float32(0)
    while True:
        raw = draw()
        layer = raw & 0xFF
        value = np.float32(np.float32(raw >> 8) * _UNIT * np.float32(ends[layer]))
        if value < np.float32(ends[layer + 1]):
            return np.float32(shift + value)
        if layer == 0:
            shift = np.float32(shift + np.float32(ends[1]))
            continue
        height = np.float32(density[layer]) + _unit(draw) * np.float32(density[layer + 1] - density[layer])
        if height < np.float32(math.exp(-float(value))):
            return np.float32(value + shift)


def _unit(draw: Draw) -> np.float32:
    """Uniform in [0, 1), of one 32-bit number; another where that rounds to 1."""
    while True:
        unit = np.float32(draw()) * np.float32(2.0**-32)
        if unit < 1:
            return np.float32(unit)
