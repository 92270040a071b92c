"""Steps of the solver's types on all parameters in one pass over memory, as solver/updates.py has them, and L1 decay.

Every value comes from the same operations in the same order as from torch there, so it is the same to the bit; but for
square roots, which are rounded as IEEE 754 asks for, where torch's are off by a digit at places.

The words of each loop: a table, its rows, the factor of each row (float64), how many values all rows have, and the
loop's own constants. A row is of one parameter: how many values precede it, how many it has, and the addresses of four
arrays of so many, of which a loop takes as many as it needs. A factor of 0 adds nothing, to no number either.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, doubles_at, floats_at, fused, kernel, next_part, number, words_at

ARRAYS = 4  # of a row
_ROW = 2 + ARRAYS


@numba.njit(**COMPILED)
def _piece(q: Any, part: Any, row: Any) -> Any:
    """The factor of a row, and what of its arrays belongs to a part; nothing may."""
    table = numba.carray(words_at(q[2]), (q[3], _ROW))
    start, count = table[row, 0], table[row, 1]
    first = min(max(part * q[5] // q[1] - start, 0), count)
    last = min(max((part + 1) * q[5] // q[1] - start, 0), count)
    a = numba.carray(floats_at(table[row, 2]), count)[first:last]
    b = numba.carray(floats_at(table[row, 3]), count)[first:last]
    c = numba.carray(floats_at(table[row, 4]), count)[first:last]
    d = numba.carray(floats_at(table[row, 5]), count)[first:last]
    return np.float32(numba.carray(doubles_at(q[4]), q[3])[row]), a, b, c, d


@numba.njit(**COMPILED)
def _constant(q: Any, place: Any) -> Any:
    return np.float32(number(q[6 + place]))


@kernel
def add_signs(q: Any) -> None:
    """a += factor sign(b), with sign(0) = 0."""
    part = next_part(q)
    while part < q[1]:
        for row in range(q[3]):
            factor, a, b, _, _ = _piece(q, part, row)
            for i in range(len(a) if factor != 0 else 0):
                a[i] = fused(np.float32(b[i] > 0) - np.float32(b[i] < 0), factor, a[i])
        part = next_part(q)


@kernel
def sgd(q: Any) -> None:
    """Weights, gradients, history; momentum."""
    momentum, part = _constant(q, 0), next_part(q)
    while part < q[1]:
        for row in range(q[3]):
            rate, w, g, h, _ = _piece(q, part, row)
            for i in range(len(w)):
                kept = h[i] * momentum
                h[i] = fused(g[i], rate, kept) if rate != 0 else kept
                w[i] -= h[i]
        part = next_part(q)


@kernel
def nesterov(q: Any) -> None:
    """Weights, gradients, history; momentum, 1 + momentum."""
    momentum, ahead, part = _constant(q, 0), _constant(q, 1), next_part(q)
    while part < q[1]:
        for row in range(q[3]):
            rate, w, g, h, _ = _piece(q, part, row)
            for i in range(len(w)):
                back, kept = fused(h[i], momentum, w[i]), h[i] * momentum
                h[i] = fused(g[i], rate, kept) if rate != 0 else kept
                w[i] = fused(h[i], -ahead, back)
        part = next_part(q)


@kernel
def adagrad(q: Any) -> None:
    """Weights, gradients, history; delta."""
    delta, part = _constant(q, 0), next_part(q)
    while part < q[1]:
        for row in range(q[3]):
            rate, w, g, h, _ = _piece(q, part, row)
            for i in range(len(w)):
                h[i] = fused(g[i], g[i], h[i])
                w[i] = fused(g[i] / (math.sqrt(h[i]) + delta), -rate, w[i]) if rate != 0 else w[i]
        part = next_part(q)


@kernel
def rmsprop(q: Any) -> None:
    """Weights, gradients, history; rms_decay, 1 - rms_decay, delta."""
    decay, rest, delta, part = _constant(q, 0), _constant(q, 1), _constant(q, 2), next_part(q)
    while part < q[1]:
        for row in range(q[3]):
            rate, w, g, h, _ = _piece(q, part, row)
            for i in range(len(w)):
                h[i] = fused(rest * g[i], g[i], h[i] * decay)
                w[i] = fused(g[i] / (math.sqrt(h[i]) + delta), -rate, w[i]) if rate != 0 else w[i]
        part = next_part(q)


@kernel
def adadelta(q: Any) -> None:
    """Weights, gradients, squares, steps; momentum, 1 - momentum, delta."""
    rho, rest, delta, part = _constant(q, 0), _constant(q, 1), _constant(q, 2), next_part(q)
    while part < q[1]:
        for row in range(q[3]):
            rate, w, g, h, h2 = _piece(q, part, row)
            for i in range(len(w)):
                h[i] = fused(rest * g[i], g[i], h[i] * rho)
                change = math.sqrt((h2[i] + delta) / (h[i] + delta)) * g[i]
                h2[i] = fused(rest * change, change, h2[i] * rho)
                w[i] = fused(change, -rate, w[i]) if rate != 0 else w[i]
        part = next_part(q)


@kernel
def adam(q: Any) -> None:
    """Weights, gradients, means, squares; momentum, 1 - momentum, momentum2, 1 - momentum2, delta."""
    b1, rest1, b2, rest2 = _constant(q, 0), _constant(q, 1), _constant(q, 2), _constant(q, 3)
    delta, part = _constant(q, 4), next_part(q)
    while part < q[1]:
        for row in range(q[3]):
            rate, w, g, m, v = _piece(q, part, row)
            for i in range(len(w)):
                m[i] = fused(g[i], rest1, m[i] * b1)
                v[i] = fused(rest2 * g[i], g[i], v[i] * b2)
                w[i] = fused(m[i] / (math.sqrt(v[i]) + delta), -rate, w[i]) if rate != 0 else w[i]
        part = next_part(q)
