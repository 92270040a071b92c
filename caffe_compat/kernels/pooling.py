"""Pooling of images in channels_last with 16 channels or more, sixteen of them at a time.

Words of all loops: bottom, top, (batch, height, width, channels) of the bottom, (height, width) of the top, of the
kernel, the stride and the pad, and how many values lie from one pixel of the top to the next; then those of each loop.
Where the channels are no multiple of sixteen, the last sixteen overlap those before.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, bytes_at, floats_at, kernel, next_part, number
from caffe_compat.kernels.vectors import (
    LANES,
    larger,
    load,
    settle,
    spread,
    store,
    store_bytes,
    store_past_caches,
    where_at_most,
    where_bytes,
    where_more,
)

_LARGE = 1 << 20  # values that no core's own cache holds
NOWHERE = 255  # the place of a maximum that no value of its window is


@numba.njit(inline="always", **COMPILED)
def _span(window: Any, kernel: Any, stride: Any, pad: Any, size: Any) -> Any:
    """What a window has of an axis: from where to behind where, and its length with the pad it has."""
    start = window * stride - pad
    return max(start, 0), min(start + kernel, size), min(start + kernel, size + pad) - start


@numba.njit(inline="always", **COMPILED)
def _reached(place: Any, kernel: Any, stride: Any, pad: Any, windows: Any) -> Any:
    """The windows that have this value of an axis: the first, and that behind the last."""
    return max((place + pad - kernel + stride) // stride, 0), min((place + pad) // stride + 1, windows)


@numba.njit(inline="always", **COMPILED)
def _reached_next(place: Any, first: Any, last: Any, kernel: Any, stride: Any, pad: Any, windows: Any) -> Any:
    """As `_reached`, from what that is for the value before, without a division."""
    return first + (first * stride - pad + kernel <= place), last + (last < windows and last * stride - pad <= place)


@kernel
def maxima(q: Any) -> None:
    """The maximum of each window and the number q[17]; NaN never wins."""
    bottom, top, height, width, channels = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7]
    rows, columns, parts, part = q[4] * q[8], q[9], q[1], next_part(q)
    least = spread(np.float32(number(q[17])))
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1, _ = _span(row % q[8], q[10], q[12], q[14], height)
            image = row // q[8] * height
            for column in range(columns):
                w0, w1, _ = _span(column, q[11], q[13], q[15], width)
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    most = least
                    for h in range(image + h0, image + h1):
                        for pixel in range(h * width + w0, h * width + w1):
                            values = load(bottom, pixel * channels + c)
                            most = larger(values, most)
                    store(top, (row * columns + column) * q[16] + c, most)
        part = next_part(q)


@kernel
def places_of_maxima(q: Any) -> None:
    """As `maxima`, and into q[18], bytes like the top, which value of the window it is, by rows, or NOWHERE.

    Values at most q[19] count as that number, and a maximum of that number is nowhere.
    """
    bottom, top, height, width, channels = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7]
    rows, columns, parts, part = q[4] * q[8], q[9], q[1], next_part(q)
    least, nowhere, places = spread(np.float32(number(q[17]))), spread(np.float32(NOWHERE)), bytes_at(q[18])
    one, floor = spread(np.float32(1)), spread(np.float32(number(q[19])))
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1, _ = _span(row % q[8], q[10], q[12], q[14], height)
            image = row // q[8] * height
            first = row % q[8] * q[12] - q[14]
            for column in range(columns):
                w0, w1, _ = _span(column, q[11], q[13], q[15], width)
                left = column * q[13] - q[15]
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    most, place = least, nowhere
                    for h in range(h0, h1):
                        here = spread(np.float32((h - first) * q[11] + w0 - left))
                        for w in range(w0, w1):
                            values = load(bottom, ((image + h) * width + w) * channels + c)
                            values = where_at_most(values, floor, floor, values)
                            place = where_more(values, most, here, place)
                            most = larger(values, most)
                            here = here + one
                    store(top, (row * columns + column) * q[16] + c, most)
                    place = where_at_most(most, floor, nowhere, place)
                    store_bytes(places, (row * columns + column) * channels + c, place)
        part = next_part(q)


@numba.njit(inline="always", **COMPILED)
def _taken(above: Any, places: Any, at: Any, place: Any) -> Any:
    """The gradients of those maxima that lie at this place of their windows, else zeros."""
    return where_bytes(places, at, place, load(above, at), spread(np.float32(0)))


@kernel
def to_places(q: Any) -> None:
    """The gradient of the bottom (q[2]) of `places_of_maxima` from that of the top (q[3]); q[18] are the places."""
    below, above, places, height, width, channels = floats_at(q[2]), floats_at(q[3]), bytes_at(q[18]), q[5], q[6], q[7]
    tops, columns, kh, kw, sh, sw, ph, pw = q[8], q[9], q[10], q[11], q[12], q[13], q[14], q[15]
    rows, parts, part, zeros = q[4] * height, q[1], next_part(q), spread(np.float32(0))
    is_large = rows * width * channels >= _LARGE
    streams = is_large and channels % LANES == 0 and q[2] % (4 * LANES) == 0
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1 = _reached(row % height, kh, sh, ph, tops)
            w0, w1 = _reached(-1, kw, sw, pw, columns)
            for column in range(width):
                w0, w1 = _reached_next(column, w0, w1, kw, sw, pw, columns)
                first = ((row // height * tops + h0) * columns + w0) * channels
                place = (row % height + ph - h0 * sh) * kw + column + pw - w0 * sw
                down, right = columns * channels * (h1 - h0 > 1), channels * (w1 - w0 > 1)
                is_small = 0 < h1 - h0 <= 2 and 0 < w1 - w0 <= 2  # then without loops, which cost more than they do
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    total, at = zeros, first + c
                    if is_small:
                        total = total + _taken(above, places, at, place)
                        if right:
                            total = total + _taken(above, places, at + right, place - sw)
                        if down:
                            total = total + _taken(above, places, at + down, place - sh * kw)
                        if down and right:
                            total = total + _taken(above, places, at + down + right, place - sh * kw - sw)
                    else:
                        for h in range(h1 - h0):
                            for w in range(w1 - w0):
                                there = at + (h * columns + w) * channels
                                total = total + _taken(above, places, there, place - h * sh * kw - w * sw)
                    if streams:
                        store_past_caches(below, (row * width + column) * channels + c, total)
                    else:
                        store(below, (row * width + column) * channels + c, total)
        part = next_part(q)
    settle()


@kernel
def averages(q: Any) -> None:
    """The sum of each window divided by its area; values at most q[17] count as that number.

    q[18] says whether what a window has of the pads belongs to its area.
    """
    bottom, top, height, width, channels = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7]
    rows, columns, parts, part = q[4] * q[8], q[9], q[1], next_part(q)
    least = spread(np.float32(number(q[17])))
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1, tall = _span(row % q[8], q[10], q[12], q[14], height)
            image = row // q[8] * height
            for column in range(columns):
                w0, w1, wide = _span(column, q[11], q[13], q[15], width)
                divisor = spread(np.float32(tall * wide if q[18] else (h1 - h0) * (w1 - w0)))
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    total = spread(np.float32(0))
                    for h in range(image + h0, image + h1):
                        for pixel in range(h * width + w0, h * width + w1):
                            values = load(bottom, pixel * channels + c)
                            total = total + where_at_most(values, least, least, values)
                    store(top, (row * columns + column) * q[16] + c, total / divisor)
        part = next_part(q)


@kernel
def shares(q: Any) -> None:
    """What of the gradient of each average (q[3]) belongs to each value of its window, into q[19]; q[18] as there."""
    above, shared, channels = floats_at(q[3]), floats_at(q[19]), q[7]
    rows, columns, parts, part = q[4] * q[8], q[9], q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1, tall = _span(row % q[8], q[10], q[12], q[14], q[5])
            for column in range(columns):
                w0, w1, wide = _span(column, q[11], q[13], q[15], q[6])
                divisor = spread(np.float32(tall * wide if q[18] else (h1 - h0) * (w1 - w0)))
                for block in range(0, channels, LANES):
                    at = (row * columns + column) * channels + min(block, channels - LANES)
                    store(shared, at, load(above, at) / divisor)
        part = next_part(q)


@kernel
def from_shares(q: Any) -> None:
    """The gradient of the bottom (q[2]) of `averages` from the `shares` (q[3]).

    Where q[18] is no null it is the bottom, and the gradient 0 where that is at most q[17].
    """
    below, shared, bottom = floats_at(q[2]), floats_at(q[3]), floats_at(q[18])
    height, width, channels = q[5], q[6], q[7]
    tops, columns, kh, kw, sh, sw, ph, pw = q[8], q[9], q[10], q[11], q[12], q[13], q[14], q[15]
    rows, parts, part, zeros = q[4] * height, q[1], next_part(q), spread(np.float32(0))
    least, is_cut = spread(np.float32(number(q[17]))), q[18] != 0
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1 = _reached(row % height, kh, sh, ph, tops)
            w0, w1 = _reached(-1, kw, sw, pw, columns)
            for column in range(width):
                w0, w1 = _reached_next(column, w0, w1, kw, sw, pw, columns)
                first = ((row // height * tops + h0) * columns + w0) * channels
                down, right = columns * channels * (h1 - h0 > 1), channels * (w1 - w0 > 1)
                is_small = 0 < h1 - h0 <= 2 and 0 < w1 - w0 <= 2  # then without loops, which cost more than they do
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    total, at = zeros, first + c
                    if is_small:
                        total = total + load(shared, at)
                        if right:
                            total = total + load(shared, at + right)
                        if down:
                            total = total + load(shared, at + down)
                        if down and right:
                            total = total + load(shared, at + down + right)
                    else:
                        for h in range(h1 - h0):
                            for w in range(w1 - w0):
                                total = total + load(shared, at + (h * columns + w) * channels)
                    at = (row * width + column) * channels + c
                    if is_cut:
                        total = where_at_most(load(bottom, at), least, zeros, total)
                    store(below, at, total)
        part = next_part(q)
