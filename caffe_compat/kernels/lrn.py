"""LRN of images in channels_last with 16 channels or more, sixteen of them at a time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, floats_at, kernel, most_parts, next_part, number
from caffe_compat.kernels.vectors import LANES, load, load_between, spread, square_root, store, store_from

__all__ = ["across", "across_back", "most_parts", "within", "within_back"]


@numba.njit(inline="always", **COMPILED)
def _factor(scale: Any) -> Any:
    """scale^-0.75."""
    root = spread(np.float32(1)) / square_root(scale)
    return root * square_root(root)


@numba.njit(inline="always", **COMPILED)
def _factor_and_quotient(scale: Any) -> Any:
    """scale^-0.75 and scale^-1; 0 for sums that overflow."""
    root = spread(np.float32(1)) / square_root(scale)
    return root * square_root(root), root * root


@numba.njit(inline="always", **COMPILED)
def _three(values: Any, at: Any, step: Any) -> Any:
    return load(values, at - step) + load(values, at) + load(values, at + step)


@numba.njit(inline="always", **COMPILED)
def _three_squares(values: Any, at: Any, step: Any) -> Any:
    before, here, after = load(values, at - step), load(values, at), load(values, at + step)
    return before * before + here * here + after * after


@numba.njit(inline="always", **COMPILED)
def _window(bottom: Any, at: Any, values: Any, c: Any, channels: Any, half: Any) -> Any:
    """The sum of squares of `values`, which lie at `at`, and of what lies up to `half` channels from them."""
    total = values * values
    for d in range(1, half + 1):
        before = load_between(bottom, at - d, d - c, LANES)
        after = load_between(bottom, at + d, 0, channels - c - d)
        total = total + before * before + after * after
    return total


@kernel
def across(q: Any) -> None:
    """x (k + alpha / n sum x^2)^-0.75, the sum over n neighbouring channels.

    Words: bottom, top, pixels, channels, (n - 1) / 2, alpha / n, k, values from one pixel of the top to the next.
    """
    bottom, top, pixels, channels, half = floats_at(q[2]), floats_at(q[3]), q[4], q[5], q[6]
    share, offset = spread(np.float32(number(q[7]))), spread(np.float32(number(q[8])))
    parts, part = q[1], next_part(q)
    while part < parts:
        for pixel in range(part * pixels // parts, (part + 1) * pixels // parts):
            for block in range(0, channels, LANES):
                c = min(block, channels - LANES)
                at = pixel * channels + c
                values = load(bottom, at)
                total = _window(bottom, at, values, c, channels, half)
                store(top, pixel * q[9] + c, values * _factor(offset + share * total))
        part = next_part(q)


@numba.njit(inline="always", **COMPILED)
def _squares(values: Any, at: Any, height: Any, width: Any, half: Any, row: Any, column: Any, channels: Any) -> Any:
    """The sum of squares over the neighbours in the plane of the values from `at` on."""
    line = width * channels
    if half == 1 and 0 < row < height - 1 and 0 < column < width - 1:  # without loops, which cost more than they do
        total = _three_squares(values, at - line, channels) + _three_squares(values, at, channels)
        return total + _three_squares(values, at + line, channels)
    total = spread(np.float32(0))
    for h in range(max(-half, -row), min(half + 1, height - row)):
        for w in range(h * width + max(-half, -column), h * width + min(half + 1, width - column)):
            here = load(values, at + w * channels)
            total = total + here * here
    return total


@numba.njit(inline="always", **COMPILED)
def _sum(values: Any, at: Any, height: Any, width: Any, half: Any, row: Any, column: Any, channels: Any) -> Any:
    """The same of the values themselves."""
    line = width * channels
    if half == 1 and 0 < row < height - 1 and 0 < column < width - 1:
        total = _three(values, at - line, channels) + _three(values, at, channels)
        return total + _three(values, at + line, channels)
    total = spread(np.float32(0))
    for h in range(max(-half, -row), min(half + 1, height - row)):
        for w in range(h * width + max(-half, -column), h * width + min(half + 1, width - column)):
            total = total + load(values, at + w * channels)
    return total


@kernel
def within(q: Any) -> None:
    """x (1 + alpha / n sum x^2)^-0.75, the sum over the n = size^2 neighbours in the plane.

    Words: bottom, top, batch, height, width, channels, (size - 1) / 2, alpha / n.
    """
    bottom, top, height, width, channels, half = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7], q[8]
    share, one = spread(np.float32(number(q[9]))), spread(np.float32(1))
    rows, parts, part = q[4] * height, q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            for column in range(width):
                for block in range(0, channels, LANES):
                    at = (row * width + column) * channels + min(block, channels - LANES)
                    total = _squares(bottom, at, height, width, half, row % height, column, channels)
                    store(top, at, load(bottom, at) * _factor(one + share * total))
        part = next_part(q)


@kernel
def across_back(q: Any) -> None:
    """The gradient of the bottom, dy s^-0.75 - 1.5 alpha / n x sum(dy x s^-1.75), with s = k + alpha / n sum x^2.

    Words: bottom, the gradient of the top, that of the bottom, memory of as many channels for each part, pixels,
    channels, (n - 1) / 2, alpha / n, k.
    """
    bottom, above, below, spreads = floats_at(q[2]), floats_at(q[3]), floats_at(q[4]), floats_at(q[5])
    pixels, channels, half, share = q[6], q[7], q[8], spread(np.float32(number(q[9])))
    offset, slope = spread(np.float32(number(q[10]))), spread(np.float32(1.5 * number(q[9])))
    parts, part = q[1], next_part(q)
    while part < parts:
        own = part * channels
        for pixel in range(part * pixels // parts, (part + 1) * pixels // parts):
            for block in range(0, channels, LANES):
                c = min(block, channels - LANES)
                at = pixel * channels + c
                values = load(bottom, at)
                total = _window(bottom, at, values, c, channels, half)
                factor, quotient = _factor_and_quotient(offset + share * total)
                direct = load(above, at) * factor
                store(below, at, direct)
                store(spreads, own + c, direct * values * quotient)
            for block in range(0, channels, LANES):
                c = min(block, channels - LANES)
                at = pixel * channels + c
                total = load(spreads, own + c)
                for d in range(1, half + 1):
                    before = load_between(spreads, own + c - d, d - c, LANES)
                    total = total + before + load_between(spreads, own + c + d, 0, channels - c - d)
                store_from(below, at, load(below, at) - load(bottom, at) * total * slope, block - c)
        part = next_part(q)


@kernel
def within_back(q: Any) -> None:
    """The gradient of the bottom, dy s^-0.75 - 1.5 alpha / n x sum(dy x s^-1.75), with s = 1 + alpha / n sum x^2.

    Words: bottom, the gradient of the top, that of the bottom, memory for an image for each part, batch, height, width,
    channels, (size - 1) / 2, alpha / n.
    """
    bottom, above, below, spreads = floats_at(q[2]), floats_at(q[3]), floats_at(q[4]), floats_at(q[5])
    images, height, width, channels, half = q[6], q[7], q[8], q[9], q[10]
    one, share = spread(np.float32(1)), spread(np.float32(number(q[11])))
    slope = spread(np.float32(1.5 * number(q[11])))
    size, parts, part = height * width * channels, q[1], next_part(q)
    while part < parts:
        for image in range(part * images // parts, (part + 1) * images // parts):
            first, own = image * size, part * size  # the image stays in the cache from one pass to the next
            for row in range(height):
                for column in range(width):
                    for block in range(0, channels, LANES):
                        at = (row * width + column) * channels + min(block, channels - LANES)
                        total = _squares(bottom, first + at, height, width, half, row, column, channels)
                        factor, quotient = _factor_and_quotient(one + share * total)
                        direct = load(above, first + at) * factor
                        store(below, first + at, direct)
                        store(spreads, own + at, direct * load(bottom, first + at) * quotient)
            for row in range(height):
                for column in range(width):
                    for block in range(0, channels, LANES):
                        c = min(block, channels - LANES)
                        at = (row * width + column) * channels + c
                        total = _sum(spreads, own + at, height, width, half, row, column, channels)
                        slant = load(bottom, first + at) * total * slope
                        store_from(below, first + at, load(below, first + at) - slant, block - c)
        part = next_part(q)
