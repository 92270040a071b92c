"""BatchNorm by its batch's statistics, with Scale, a sum and ReLU, of values whose channels lie innermost.

The values are rows of `lanes` floats, a multiple of the channels and of a vector, so that every lane has one channel,
whatever their number; the last row may be shorter, by whole vectors. What is summed is summed by groups of rows, as
many as the size says and not the threads, so that results are the same for all numbers of these.

Terms: (3, lanes) floats, the mean m, the factor a and the offset b of each lane. A value is normalised as
(x - m) a + b, to the bit alike wherever that is computed. A ReLU is told by 1: it gives 0 at least; without it, 0, the
least is -infinity.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, doubles_at, floats_at, kernel, next_part, number
from caffe_compat.kernels.vectors import LANES, larger, load, spread, store, where_at_most

ROWS = 8  # that are summed by themselves before they are added to the sums of a group
_MOST_GROUPS = 128
_LEAST_OF_GROUP = 1 << 16  # values


def groups_for(size: int) -> int:
    """The number of groups that sum so many values."""
    return min(max(size // _LEAST_OF_GROUP, 1), _MOST_GROUPS)


@numba.njit(**COMPILED)
def _rows_less_first(x: Any, at: Any, lanes: Any, total: Any, squares: Any) -> None:
    """Sums over some rows of what they are more than the first: of small numbers, in whose squares nothing is lost."""
    zero = spread(np.float32(0))
    for j in range(0, lanes, LANES):
        first = load(x, at + j)
        sums = products = zero
        for row in range(1, ROWS):
            values = load(x, at + row * lanes + j) - first
            sums, products = sums + values, products + values * values
        store(total, j, sums)
        store(squares, j, products)


@numba.njit(**COMPILED)
def _add_rows(first: Any, total: Any, squares: Any, totals: Any, all_squares: Any) -> None:
    for j in range(len(first)):
        k, s = np.float64(first[j]), np.float64(total[j])
        totals[j] += ROWS * k + s
        all_squares[j] += np.float64(squares[j]) + k * (2 * s + ROWS * k)


@numba.njit(**COMPILED)
def _add_row(row: Any, totals: Any, all_squares: Any) -> None:
    for j in range(len(row)):
        value = np.float64(row[j])
        totals[j] += value
        all_squares[j] += value * value


@numba.njit(**COMPILED)
def _fold(lanes: Any, channels: Any) -> None:
    """Puts into `channels` the sum of the lanes of each."""
    count = len(channels)
    channels[:] = 0
    for start in range(0, len(lanes), count):
        for c in range(count):
            channels[c] += lanes[start + c]


@kernel
def moments(q: Any) -> None:
    """The sums of x and x^2, (groups, 2, channels) float64.

    Words: x, its size, lanes, channels, groups, the sums; between: (groups, 2, lanes) float32 and as many float64.
    """
    size, lanes, channels, groups = q[3], q[4], q[5], q[6]
    values, sums = numba.carray(floats_at(q[2]), size), numba.carray(doubles_at(q[9]), (groups, 2, lanes))
    out, rows = numba.carray(doubles_at(q[7]), (groups, 2, channels)), numba.carray(floats_at(q[8]), (groups, 2, lanes))
    step = ROWS * lanes
    blocks = size // step
    parts, part = q[1], next_part(q)
    while part < parts:
        for group in range(part * groups // parts, (part + 1) * groups // parts):
            total, squares, between = sums[group, 0], sums[group, 1], q[8] + 8 * group * lanes
            total[:] = 0
            squares[:] = 0
            for block in range(group * blocks // groups, (group + 1) * blocks // groups):
                at = block * step
                _rows_less_first(floats_at(q[2]), at, lanes, floats_at(between), floats_at(between + 4 * lanes))
                _add_rows(values[at : at + lanes], rows[group, 0], rows[group, 1], total, squares)
            if group == groups - 1:
                for start in range(blocks * step, size, lanes):
                    _add_row(values[start : min(start + lanes, size)], total, squares)
            _fold(total, out[group, 0])
            _fold(squares, out[group, 1])
        part = next_part(q)


@kernel
def statistics(q: Any) -> None:
    """The mean and 1 / sqrt(variance + eps), (2, channels) float64, and the terms; the blobs of BatchNorm move.

    Words: sums of `moments`, channels, groups, values a channel, eps, factors, offsets (either may be 0: none), lanes,
    the two results, the blobs: sums of means, of unbiased variances, and (1,) of ones; how much of them stays.
    """
    channels, groups, count, lanes = q[3], q[4], q[5], q[9]
    sums = numba.carray(doubles_at(q[2]), (groups, 2, channels))
    scale, shift = numba.carray(floats_at(q[7]), channels), numba.carray(floats_at(q[8]), channels)
    saved, terms = numba.carray(doubles_at(q[10]), (2, channels)), numba.carray(floats_at(q[11]), (3, lanes))
    means, variances = numba.carray(floats_at(q[12]), channels), numba.carray(floats_at(q[13]), channels)
    weight, stays = numba.carray(floats_at(q[14]), 1), np.float32(number(q[15]))
    weight[0] = weight[0] * stays + np.float32(1)
    for c in range(channels):
        total, squares = 0.0, 0.0
        for group in range(groups):
            total += sums[group, 0, c]
            squares += sums[group, 1, c]
        mean = total / count
        variance = squares / count - mean * mean
        variance = 0.0 if variance < 0 else variance
        inverse = 1 / np.sqrt(variance + number(q[6]))
        saved[0, c], saved[1, c] = mean, inverse
        rounded = np.float32(mean)
        means[c] = means[c] * stays + rounded
        variances[c] = variances[c] * stays + np.float32(variance * (count / (count - 1)) if count > 1 else variance)
        factor = np.float32(inverse * scale[c] if q[7] else inverse)
        offset = np.float32((rounded - mean) * factor + (shift[c] if q[8] else 0.0))
        for j in range(c, lanes, channels):
            terms[0, j], terms[1, j], terms[2, j] = rounded, factor, offset


@numba.njit(**COMPILED)
def _floor(rectifies: Any) -> Any:
    return spread(np.float32(0) if rectifies else np.float32(-np.inf))


@kernel
def normalised(q: Any) -> None:
    """The top: (x - m) a + b, plus another blob where there is one, above the floor.

    Words: x, its size, lanes, the terms, ReLU, the other blob or 0, the top.
    """
    x, size, lanes, terms, other, top = floats_at(q[2]), q[3], q[4], floats_at(q[5]), floats_at(q[7]), floats_at(q[8])
    floor = _floor(q[6])
    rows = (size + lanes - 1) // lanes
    parts, part = q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            for j in range(0, min(lanes, size - row * lanes), LANES):
                at = row * lanes + j
                values = (load(x, at) - load(terms, j)) * load(terms, lanes + j) + load(terms, 2 * lanes + j)
                if q[7]:
                    values = values + load(other, at)
                store(top, at, larger(floor, values))
        part = next_part(q)


@numba.njit(**COMPILED)
def _mask(gradient: Any, top: Any, other: Any, is_sum: Any, first: Any, last: Any) -> None:
    zero = spread(np.float32(0))
    for at in range(first, last, LANES):
        values = load(gradient, at)
        if is_sum:
            values = values + load(other, at)
        store(gradient, at, where_at_most(load(top, at), zero, zero, values))


@numba.njit(**COMPILED)
def _add_gradients(gradient: Any, x: Any, terms: Any, floor: Any, sums: Any, lanes: Any, first: Any, last: Any) -> None:
    """Adds to the lanes of `sums` those from `first` to `last`: of the gradient, and of it times x - m."""
    zero = spread(np.float32(0))
    for j in range(0, min(lanes, last - first), LANES):
        mean, factor, offset = load(terms, j), load(terms, lanes + j), load(terms, 2 * lanes + j)
        total = products = zero
        for at in range(first + j, last, lanes):
            centred = load(x, at) - mean
            values = where_at_most(centred * factor + offset, floor, zero, load(gradient, at))
            total, products = total + values, products + values * centred
        store(sums, j, load(sums, j) + total)
        store(sums, lanes + j, load(sums, lanes + j) + products)


@kernel
def gradient_sums(q: Any) -> None:
    """The sums over each channel of the gradient and of it times x - m, (groups, 2, channels) float64.

    Where the top is given, the gradient is made 0 in memory where that is, and another one added to it before.
    Words: gradient, its size, lanes, channels, x, terms, ReLU, the top or 0, the other gradient or 0, groups, the
    sums; between: (groups, 2, lanes) float32.
    """
    gradient, size, lanes, x, terms = floats_at(q[2]), q[3], q[4], floats_at(q[6]), floats_at(q[7])
    floor, top, other = _floor(q[8]), floats_at(q[9]), floats_at(q[10])
    groups, step = q[11], ROWS * lanes
    out = numba.carray(doubles_at(q[12]), (groups, 2, q[5]))
    between = numba.carray(floats_at(q[13]), (groups, 2, lanes))
    blocks = (size + step - 1) // step
    parts, part = q[1], next_part(q)
    while part < parts:
        for group in range(part * groups // parts, (part + 1) * groups // parts):
            between[group] = 0
            sums = floats_at(q[13] + 8 * group * lanes)
            for block in range(group * blocks // groups, (group + 1) * blocks // groups):
                first, last = block * step, min(block * step + step, size)
                if q[9]:
                    _mask(gradient, top, other, q[10] != 0, first, last)
                _add_gradients(gradient, x, terms, floor, sums, lanes, first, last)
            _fold(between[group, 0], out[group, 0])
            _fold(between[group, 1], out[group, 1])
        part = next_part(q)


@kernel
def gradient_terms(q: Any) -> None:
    """The gradients of factors and offsets, (channels,) float32, and the slopes u and v of `gradients`, (2, lanes).

    Words: sums of `gradient_sums`, channels, groups, values a channel, lanes, mean and 1 / deviation, terms, the
    three results.
    """
    channels, groups, count, lanes = q[3], q[4], q[5], q[6]
    sums, saved = numba.carray(doubles_at(q[2]), (groups, 2, channels)), numba.carray(doubles_at(q[7]), (2, channels))
    terms, slopes = numba.carray(floats_at(q[8]), (3, lanes)), numba.carray(floats_at(q[11]), (2, lanes))
    scale, offset = numba.carray(floats_at(q[9]), channels), numba.carray(floats_at(q[10]), channels)
    for c in range(channels):
        total, products = 0.0, 0.0
        for group in range(groups):
            total += sums[group, 0, c]
            products += sums[group, 1, c]
        mean, inverse, factor = saved[0, c], saved[1, c], np.float64(terms[1, c])
        rest = terms[0, c] - mean  # what the mean was rounded by
        products += total * rest
        scale[c], offset[c] = products * inverse, total
        slope = -factor * products * inverse * inverse / count
        shift = rest * slope - factor * total / count
        for j in range(c, lanes, channels):
            slopes[0, j], slopes[1, j] = slope, shift


@kernel
def gradients(q: Any) -> None:
    """The gradient of x: a g + ((x - m) u + v), g that of the top where that is above the floor, else 0.

    Words: gradient of the top, its size, lanes, x, terms, ReLU, the slopes u and v, the gradient of x, which may lie
    in the memory of either.
    """
    gradient, size, lanes, x, terms = floats_at(q[2]), q[3], q[4], floats_at(q[5]), floats_at(q[6])
    floor, slopes, out = _floor(q[7]), floats_at(q[8]), floats_at(q[9])
    zero, rows = spread(np.float32(0)), (size + lanes - 1) // lanes
    parts, part = q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            for j in range(0, min(lanes, size - row * lanes), LANES):
                at, factor = row * lanes + j, load(terms, lanes + j)
                centred = load(x, at) - load(terms, j)
                values = where_at_most(centred * factor + load(terms, 2 * lanes + j), floor, zero, load(gradient, at))
                store(out, at, values * factor + (centred * load(slopes, j) + load(slopes, lanes + j)))
        part = next_part(q)
