"""LRN of images in channels_last with 16 channels or more, sixteen of them at a time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, floats_at, kernel, next_part, number
from caffe_compat.kernels.vectors import LANES, load, load_between, spread, square_root, store


@numba.njit(inline="always", **COMPILED)
def _factor(scale: Any) -> Any:
    """scale^-0.75."""
    root = spread(np.float32(1)) / square_root(scale)
    return root * square_root(root)


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

    Words: bottom, top, batch, height, width, channels, (size - 1) / 2, alpha / n.
    """
    bottom, top, height, width, channels, half = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7], q[8]
    share, one = spread(np.float32(number(q[9]))), spread(np.float32(1))
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
                    store(top, at, load(bottom, at) * _factor(one + share * total))
        part = next_part(q)
