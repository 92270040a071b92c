"""Pooling of images in channels_last with 16 channels or more, sixteen of them at a time.

Words of the loops: bottom, top, (batch, height, width, channels) of the bottom, (height, width) of the top, of the
kernel, the stride and the pad, and how many values lie from one pixel of the top to the next. Where the channels are no
multiple of sixteen, the last sixteen overlap those before.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, floats_at, kernel, next_part
from caffe_compat.kernels.vectors import LANES, larger, load, spread, store

_LEAST = np.float32(np.finfo(np.float32).min)  # -FLT_MAX, where Caffe's search for a maximum begins


@numba.njit(inline="always", **COMPILED)
def _span(window: Any, kernel: Any, stride: Any, pad: Any, size: Any) -> Any:
    """What a window has of an axis: from where to behind where, and its length with the pad it has."""
    start = window * stride - pad
    return max(start, 0), min(start + kernel, size), min(start + kernel, size + pad) - start


@kernel
def maxima(q: Any) -> None:
    """The maximum of each window; as in Caffe NaN never wins, and without a value above it -FLT_MAX does."""
    bottom, top, height, width, channels = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7]
    rows, columns, parts, part = q[4] * q[8], q[9], q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1, _ = _span(row % q[8], q[10], q[12], q[14], height)
            image = row // q[8] * height
            for column in range(columns):
                w0, w1, _ = _span(column, q[11], q[13], q[15], width)
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    most = spread(_LEAST)
                    for h in range(image + h0, image + h1):
                        for pixel in range(h * width + w0, h * width + w1):
                            most = larger(load(bottom, pixel * channels + c), most)
                    store(top, (row * columns + column) * q[16] + c, most)
        part = next_part(q)


@kernel
def averages(q: Any) -> None:
    """The sum of each window divided by its area; q[17] says whether what it has of the pads belongs to that."""
    bottom, top, height, width, channels = floats_at(q[2]), floats_at(q[3]), q[5], q[6], q[7]
    rows, columns, parts, part = q[4] * q[8], q[9], q[1], next_part(q)
    while part < parts:
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            h0, h1, tall = _span(row % q[8], q[10], q[12], q[14], height)
            image = row // q[8] * height
            for column in range(columns):
                w0, w1, wide = _span(column, q[11], q[13], q[15], width)
                divisor = spread(np.float32(tall * wide if q[17] else (h1 - h0) * (w1 - w0)))
                for block in range(0, channels, LANES):
                    c = min(block, channels - LANES)
                    total = spread(np.float32(0))
                    for h in range(image + h0, image + h1):
                        for pixel in range(h * width + w0, h * width + w1):
                            total = total + load(bottom, pixel * channels + c)
                    store(top, (row * columns + column) * q[16] + c, total / divisor)
        part = next_part(q)
