"""MAX pooling of images in channels_last, in vectors of channels."""

from __future__ import annotations

from typing import Any

import numba

from caffe_compat.kernels.kernel import COMPILED, floats_at, kernel, next_part


@numba.njit(**COMPILED)
def _maxima(x: Any, y: Any, kernel: Any, stride: Any, pad: Any, first: Any, last: Any) -> None:
    _, height, width, channels = x.shape
    _, rows, columns, _ = y.shape
    for row in range(first, last):
        image, top = row // rows, row % rows * stride[0] - pad[0]
        h0, h1 = max(top, 0), min(top + kernel[0], height)
        for column in range(columns):
            left = column * stride[1] - pad[1]
            w0, w1 = max(left, 0), min(left + kernel[1], width)
            out, values = y[image, row % rows, column], x[image, h0, w0]
            for c in range(channels):
                out[c] = values[c]
            for h in range(h0, h1):
                for w in range(w0, w1):
                    values = x[image, h, w]
                    for c in range(channels):
                        out[c] = values[c] if values[c] > out[c] else out[c]


@kernel
def maxima(q: Any) -> None:
    """x, y, (batch, height, width, channels) of x, (height, width) of y, of the kernel, the stride and the pad.

    No window may lie in the pad alone. Where a window begins with NaN its maximum is NaN.
    """
    x = numba.carray(floats_at(q[2]), (q[4], q[5], q[6], q[7]))
    y = numba.carray(floats_at(q[3]), (q[4], q[8], q[9], q[7]))
    rows, parts, part = q[4] * q[8], q[1], next_part(q)
    while part < parts:
        first, last = part * rows // parts, (part + 1) * rows // parts
        _maxima(x, y, (q[10], q[11]), (q[12], q[13]), (q[14], q[15]), first, last)
        part = next_part(q)
