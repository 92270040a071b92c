"""LRN of images in channels_last with 16 channels or more, sixteen of them at a time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, floats_at, kernel, most_parts, next_part, number
from caffe_compat.kernels.vectors import LANES, load, load_between, spread, square_root, store, store_from

__all__ = ["across", "across_back", "most_parts", "within", "within_back", "within_direct"]


@numba.njit(inline="always", **COMPILED)
def _factor(scale: Any) -> Any:
    """scale^-0.75."""
    root = spread(np.float32(1)) / square_root(scale)
    return root * square_root(root)


@numba.njit(inline="always", **COMPILED)
def _factor_and_quotient(scale: Any) -> Any:
    """scale^-0.75 and scale^-1."""
    quotient = spread(np.float32(1)) / scale
    return quotient * square_root(square_root(scale)), quotient


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
                total = values * values
                for d in range(1, half + 1):
                    before = load_between(bottom, at - d, d - c, LANES)
                    after = load_between(bottom, at + d, 0, channels - c - d)
                    total = total + before * before + after * after
                store(top, pixel * q[9] + c, values * _factor(offset + share * total))
        part = next_part(q)


@kernel
def within(q: Any) -> None:
    """x (1 + alpha / n sum x^2)^-0.75, the sum over the n = size^2 neighbours in the plane.

    Words: bottom, top, batch, height, width, channels, (size - 1) / 2, alpha / n, and where what is raised to the power
    goes, or null.
    """
    bottom, top, height, width, channels, half = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7], q[8]
    share, one, scales, is_kept = spread(np.float32(number(q[9]))), spread(np.float32(1)), floats_at(q[10]), q[10] != 0
    rows, parts, part = q[4] * height, q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1 = max(-half, -(row % height)), min(half + 1, height - row % height)
            for column in range(width):
                w0, w1 = max(-half, -column), min(half + 1, width - column)
                for block in range(0, channels, LANES):
                    at = (row * width + column) * channels + min(block, channels - LANES)
                    total = spread(np.float32(0))
                    for h in range(h0, h1):
                        for w in range(h * width + w0, h * width + w1):
                            values = load(bottom, at + w * channels)
                            total = total + values * values
                    scale = one + share * total
                    if is_kept:
                        store(scales, at, scale)
                    store(top, at, load(bottom, at) * _factor(scale))
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
                total = values * values
                for d in range(1, half + 1):
                    before = load_between(bottom, at - d, d - c, LANES)
                    after = load_between(bottom, at + d, 0, channels - c - d)
                    total = total + before * before + after * after
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
                store_from(below, at, load(below, at) - slope * load(bottom, at) * total, block - c)
        part = next_part(q)


@kernel
def within_direct(q: Any) -> None:
    """dy s^-0.75 and, to be summed over neighbours, dy x s^-1.75.

    Words: bottom, the gradient of the top, s, where the two go, and how many values each has.
    """
    bottom, above, scales = floats_at(q[2]), floats_at(q[3]), floats_at(q[4])
    direct, spreads = floats_at(q[5]), floats_at(q[6])
    blocks, parts, part = (q[7] + LANES - 1) // LANES, q[1], next_part(q)
    while part < parts:
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            at = min(block * LANES, q[7] - LANES)
            factor, quotient = _factor_and_quotient(load(scales, at))
            first = load(above, at) * factor
            store(direct, at, first)
            store(spreads, at, first * load(bottom, at) * quotient)
        part = next_part(q)


@kernel
def within_back(q: Any) -> None:
    """The gradient of the bottom: what `within_direct` gives first, - 1.5 alpha / n x the sum over the second.

    Words: bottom, these two, batch, height, width, channels, (size - 1) / 2, alpha / n. The first is overwritten.
    """
    bottom, below, spreads, height, width = floats_at(q[2]), floats_at(q[3]), floats_at(q[4]), q[6], q[7]
    channels, half, slope = q[8], q[9], spread(np.float32(1.5 * number(q[10])))
    rows, parts, part = q[5] * height, q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1 = max(-half, -(row % height)), min(half + 1, height - row % height)
            for column in range(width):
                w0, w1 = max(-half, -column), min(half + 1, width - column)
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    at = (row * width + column) * channels + c
                    total = spread(np.float32(0))
                    for h in range(h0, h1):
                        for w in range(h * width + w0, h * width + w1):
                            total = total + load(spreads, at + w * channels)
                    store_from(below, at, load(below, at) - slope * load(bottom, at) * total, block - c)
        part = next_part(q)
