"""The force on small filter banks, see regularizers/force.py for its equation and regularizers/small_banks.py for use.

Every bank is a row of a table of words, and a part of the work of its own.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, doubles_at, floats_at, kernel, next_part, number, words_at

ROOM = 3  # doubles a filter that `combine` and `combine_doubles` need beside the matrices
LANES = 32  # sums side by side in `add_pulls_to_sum`, of which each has every 32nd term


@numba.njit(**COMPILED)
def _combine(gram: Any, inverse: Any, near: Any, sums: Any, power: Any, shortest: Any, least: Any) -> Any:
    """With u = w / |w| and A = 1 / c(d), 0 where filters are near or short, d^2 = 2 - 2 u_i.u_j:

    M_ij = -|w_i| A_ij / |w_j|, M_ii = sum_j A_ij u_i.u_j, in place of K. Whether none is near or short.
    """
    one, zero, count, is_far = gram.dtype.type(1), gram.dtype.type(0), len(gram), True
    for i in range(count):
        length = math.sqrt(gram[i, i])
        is_long = length > shortest
        is_far &= is_long
        inverse[i], near[i], sums[i] = one / length if is_long else zero, zero, 0
        for j in range(i):  # A_ij and A_ji must be one number, for M_ii w_i takes off what the other M_ij w_j add
            gram[i, j] = gram[j, i]
    for i in range(count):
        row, own = gram[i], inverse[i]
        length, row[i] = row[i] * own, zero
        for j in range(count):
            cosine = row[j] * (own * inverse[j])
            square = one + one - (cosine + cosine)
            attraction = one / square
            if power == 1:
                attraction = one / math.sqrt(square)
            elif power == 3:
                attraction = one / (square * math.sqrt(square))
            is_near = not square > least
            near[j] += one if is_near else zero
            attraction = zero if is_near else attraction
            row[j] = -length * attraction * inverse[j]
            sums[j] += np.float64(attraction * cosine)
    for i in range(count):
        gram[i, i] = sums[i]
        is_far &= near[i] == 0
    return is_far


@kernel
def combine(q: Any) -> None:
    """Make M of g = M w from K = w w^T, in place, for every bank of filters w; of float32.

    Words: a table, its rows, room for ROOM doubles a filter of all banks, the power of c(d) = d^power (1, 2 or 3), the
    length that a filter must exceed to pull or be pulled, and the squared distance that two must exceed to pull each
    other. A row has the address of the matrix, how many filters there are, how many precede them in the table, and a
    word that becomes 1 where all of them are longer and farther apart than that, else 0.
    """
    table, part = numba.carray(words_at(q[2]), (q[3], 4)), next_part(q)
    while part < q[1]:
        for bank in range(part * q[3] // q[1], (part + 1) * q[3] // q[1]):
            count, room = table[bank, 1], q[4] + 8 * ROOM * table[bank, 2]
            gram = numba.carray(floats_at(table[bank, 0]), (count, count))
            inverse, near = numba.carray(floats_at(room), (2, count))
            sums = numba.carray(doubles_at(room + 16 * count), count)
            limits = np.float32(number(q[6])), np.float32(number(q[7]))
            table[bank, 3] = _combine(gram, inverse, near, sums, q[5], *limits)
        part = next_part(q)


@kernel
def combine_doubles(q: Any) -> None:
    """The same in float64."""
    table, part = numba.carray(words_at(q[2]), (q[3], 4)), next_part(q)
    while part < q[1]:
        for bank in range(part * q[3] // q[1], (part + 1) * q[3] // q[1]):
            count, room = table[bank, 1], q[4] + 8 * ROOM * table[bank, 2]
            gram = numba.carray(doubles_at(table[bank, 0]), (count, count))
            inverse, near, sums = numba.carray(doubles_at(room), (3, count))
            table[bank, 3] = _combine(gram, inverse, near, sums, q[5], number(q[6]), number(q[7]))
        part = next_part(q)


@numba.njit(**COMPILED)
def _product(a: Any, b: Any, lanes: Any) -> Any:
    """a.b in float64, from LANES sums."""
    whole = len(a) - len(a) % LANES
    for lane in range(LANES):
        lanes[lane] = 0
    for k in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += np.float64(a[k + lane]) * np.float64(b[k + lane])
    total = 0.0
    for lane in range(LANES):
        total += lanes[lane]
    for k in range(whole, len(a)):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@numba.njit(**COMPILED)
def _pull_to_sum(w: Any, g: Any, strength: Any, shortest: Any, s: Any, lanes: Any) -> None:
    """g_i += strength ((s.u_i) w_i - |w_i| s), with s = sum_j u_j; u = w / |w|, 0 for short filters."""
    for k in range(len(s)):
        s[k] = 0
    for i in range(len(w)):
        length = math.sqrt(_product(w[i], w[i], lanes))
        inverse = 1 / length if length > shortest else 0.0
        for k in range(len(s)):
            s[k] += inverse * w[i, k]
    for i in range(len(w)):
        length = math.sqrt(_product(w[i], w[i], lanes))
        if length > shortest:
            agreement = _product(w[i], s, lanes) / length
            for k in range(len(s)):
                g[i, k] += np.float32(strength * (agreement * w[i, k] - length * s[k]))


@kernel
def add_pulls_to_sum(q: Any) -> None:
    """Add strength times the force where c(d) = 1 to the gradient of every bank.

    Words: a table, its rows, the strength of each (float64), room for as many doubles as a row says, and the length
    that a filter must exceed to pull or be pulled. A row has the addresses of weight and gradient, how many filters
    there are, how many values each has, and where in the room its own begins: as many doubles as values, and LANES.
    """
    table, strengths = numba.carray(words_at(q[2]), (q[3], 5)), numba.carray(doubles_at(q[4]), q[3])
    part = next_part(q)
    while part < q[1]:
        for bank in range(part * q[3] // q[1], (part + 1) * q[3] // q[1]):
            shape, room = (table[bank, 2], table[bank, 3]), q[5] + 8 * table[bank, 4]
            w = numba.carray(floats_at(table[bank, 0]), shape)
            g = numba.carray(floats_at(table[bank, 1]), shape)
            s = numba.carray(doubles_at(room + 8 * LANES), shape[1])
            _pull_to_sum(w, g, strengths[bank], number(q[6]), s, numba.carray(doubles_at(room), LANES))
        part = next_part(q)
