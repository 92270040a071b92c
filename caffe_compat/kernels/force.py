"""The force on small filter banks, see regularizers/force.py for its equation and regularizers/small_banks.py for use.

Every bank is a row of a table of words, and a part of the work of its own.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, doubles_at, floats_at, kernel, next_part, number, words_at
from caffe_compat.kernels.vectors import LANES, load, load_between, multiply_add, spread, store_from, total

ROOM = 3  # doubles a filter that are needed beside the matrices
SUMS = 32  # side by side in `add_pulls_to_sum`, of which each has every 32nd term


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


@numba.njit(**COMPILED)
def _gram(w: Any, elements: Any, gram: Any) -> None:
    """Make the upper triangle of K = w w^T, and something of the lower, in tiles of 4 by 2 values."""
    last, zero = len(gram) - 1, spread(np.float32(0))
    for i in range(0, last + 1, 4):
        i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        for j in range(i, last + 1, 2):
            j1 = min(j + 1, last)
            a = b = c = d = e = f = g = h = zero
            for k in range(0, elements, LANES):
                left = elements - k
                first = load_between(w, j * elements + k, 0, left)
                second = load_between(w, j1 * elements + k, 0, left)
                own = load_between(w, i * elements + k, 0, left)
                a, b = multiply_add(own, first, a), multiply_add(own, second, b)
                own = load_between(w, i1 * elements + k, 0, left)
                c, d = multiply_add(own, first, c), multiply_add(own, second, d)
                own = load_between(w, i2 * elements + k, 0, left)
                e, f = multiply_add(own, first, e), multiply_add(own, second, f)
                own = load_between(w, i3 * elements + k, 0, left)
                g, h = multiply_add(own, first, g), multiply_add(own, second, h)
            gram[i, j], gram[i, j1], gram[i1, j], gram[i1, j1] = total(a), total(b), total(c), total(d)
            gram[i2, j], gram[i2, j1], gram[i3, j], gram[i3, j1] = total(e), total(f), total(g), total(h)


@numba.njit(**COMPILED)
def _add_product(m: Any, w: Any, elements: Any, gradient: Any, strength: Any) -> None:
    """gradient += strength M w, in tiles of 4 rows by two vectors; the last of a row begin earlier and add less."""
    count, zero, factor = len(m), spread(np.float32(0)), spread(np.float32(strength))
    for k in range(0, elements, 2 * LANES):
        start = min(k, elements - 2 * LANES)
        for i in range(0, count, 4):
            i1, i2, i3 = min(i + 1, count - 1), min(i + 2, count - 1), min(i + 3, count - 1)
            a = b = c = d = e = f = g = h = zero
            for j in range(count):
                first, second = load(w, j * elements + start), load(w, j * elements + start + LANES)
                own = spread(m[i, j])
                a, b = multiply_add(own, first, a), multiply_add(own, second, b)
                own = spread(m[i1, j])
                c, d = multiply_add(own, first, c), multiply_add(own, second, d)
                own = spread(m[i2, j])
                e, f = multiply_add(own, first, e), multiply_add(own, second, f)
                own = spread(m[i3, j])
                g, h = multiply_add(own, first, g), multiply_add(own, second, h)
            _add_row(gradient, i * elements + start, a, b, factor, k - start)
            if i + 1 < count:
                _add_row(gradient, i1 * elements + start, c, d, factor, k - start)
            if i + 2 < count:
                _add_row(gradient, i2 * elements + start, e, f, factor, k - start)
            if i + 3 < count:
                _add_row(gradient, i3 * elements + start, g, h, factor, k - start)


@numba.njit(**COMPILED)
def _add_short_product(m: Any, w: Any, gradient: Any, strength: Any) -> None:
    """The same for filters of fewer values than two vectors."""
    for i in range(len(m)):
        for j in range(len(m)):
            factor = np.float32(strength) * m[i, j]
            for k in range(w.shape[1]):
                gradient[i, k] += factor * w[j, k]


@numba.njit(**COMPILED)
def _add_row(gradient: Any, place: Any, first: Any, second: Any, factor: Any, done: Any) -> None:
    """Add factor times two vectors at `place`, but for the values before the one numbered `done`."""
    store_from(gradient, place, multiply_add(first, factor, load(gradient, place)), done)
    place += LANES
    store_from(gradient, place, multiply_add(second, factor, load(gradient, place)), done - LANES)


@kernel
def add_far_forces(q: Any) -> None:
    """Add strength times the force to the gradient of every bank whose filters are all long and far apart; in float32.

    Words: a table, its rows, the strength of each (float64), room, the power of c(d) = d^power (1, 2 or 3), the length
    that a filter must exceed to pull or be pulled, and the squared distance that two must exceed to be far apart. A row
    has the addresses of weight and gradient, how many filters there are, how many values each has,
    where in the room (in doubles) its own ROOM doubles a filter and half a double a value of K begin, and a word
    that becomes 1 where that was done; else 0, and the gradient stays.
    """
    table, strengths = numba.carray(words_at(q[2]), (q[3], 6)), numba.carray(doubles_at(q[4]), q[3])
    part = next_part(q)
    while part < q[1]:
        for bank in range(part * q[3] // q[1], (part + 1) * q[3] // q[1]):
            count, elements = table[bank, 2], table[bank, 3]
            w, slope = floats_at(table[bank, 0]), floats_at(table[bank, 1])
            room = q[5] + 8 * table[bank, 4]
            inverse, near = numba.carray(floats_at(room), (2, count))
            sums = numba.carray(doubles_at(room + 16 * count), count)
            gram = numba.carray(floats_at(room + 8 * ROOM * count), (count, count))
            _gram(w, elements, gram)
            is_far = _combine(gram, inverse, near, sums, q[6], np.float32(number(q[7])), np.float32(number(q[8])))
            if is_far and elements >= 2 * LANES:
                _add_product(gram, w, elements, slope, strengths[bank])
            elif is_far:
                shape = count, elements
                _add_short_product(gram, numba.carray(w, shape), numba.carray(slope, shape), strengths[bank])
            table[bank, 5] = is_far
        part = next_part(q)


@kernel
def combine_doubles(q: Any) -> None:
    """Make M of g = M w from K = w w^T, in place, for every bank of filters w; all of float64.

    Words: a table, its rows, room for ROOM doubles a filter of all banks, the power, the length that a filter must
    exceed to pull or be pulled, and the squared distance that two must exceed to pull each other. A row has the address
    of the matrix, how many filters there are, and how many precede them in the table.
    """
    table, part = numba.carray(words_at(q[2]), (q[3], 3)), next_part(q)
    while part < q[1]:
        for bank in range(part * q[3] // q[1], (part + 1) * q[3] // q[1]):
            count, room = table[bank, 1], q[4] + 8 * ROOM * table[bank, 2]
            gram = numba.carray(doubles_at(table[bank, 0]), (count, count))
            inverse, near, sums = numba.carray(doubles_at(room), (3, count))
            _combine(gram, inverse, near, sums, q[5], number(q[6]), number(q[7]))
        part = next_part(q)


@numba.njit(**COMPILED)
def _product(a: Any, b: Any, lanes: Any) -> Any:
    """a.b in float64, from SUMS sums."""
    whole = len(a) - len(a) % SUMS
    for lane in range(SUMS):
        lanes[lane] = 0
    for k in range(0, whole, SUMS):
        for lane in range(SUMS):
            lanes[lane] += np.float64(a[k + lane]) * np.float64(b[k + lane])
    total = 0.0
    for lane in range(SUMS):
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
    there are, how many values each has, where in the room its own begins, as many doubles as values and SUMS, and a
    word that is not used.
    """
    table, strengths = numba.carray(words_at(q[2]), (q[3], 6)), numba.carray(doubles_at(q[4]), q[3])
    part = next_part(q)
    while part < q[1]:
        for bank in range(part * q[3] // q[1], (part + 1) * q[3] // q[1]):
            shape, room = (table[bank, 2], table[bank, 3]), q[5] + 8 * table[bank, 4]
            w = numba.carray(floats_at(table[bank, 0]), shape)
            g = numba.carray(floats_at(table[bank, 1]), shape)
            s = numba.carray(doubles_at(room + 8 * SUMS), shape[1])
            _pull_to_sum(w, g, strengths[bank], number(q[6]), s, numba.carray(doubles_at(room), SUMS))
        part = next_part(q)
