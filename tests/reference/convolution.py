"""Convolution, deconvolution and im2col over any number of axes by plain loops, float64."""

from __future__ import annotations

import numpy as np

# fields, bottom shape, then what the loops are given: output size, stride, pad, dilation, group
CONVOLUTIONS = {
    "odd sizes": ("kernel_size: 3", (2, 3, 7, 6), ((5, 4), [1, 1], [0, 0], [1, 1], 1)),
    "rectangular": (
        "kernel_h: 5 kernel_w: 2 pad_h: 2 pad_w: 0 stride_h: 1 stride_w: 3",
        (2, 3, 5, 9),
        ((5, 3), [1, 3], [2, 0], [1, 1], 1),
    ),
    "groups": ("kernel_size: 3 group: 2 pad: 1 stride: 2", (1, 4, 6, 7), ((3, 4), [2, 2], [1, 1], [1, 1], 2)),
    "dilation": (
        "kernel_size: 3 kernel_size: 2 dilation: 1 dilation: 3 pad: 1 pad: 2",
        (1, 2, 5, 6),
        ((5, 7), [1, 1], [1, 2], [1, 3], 1),
    ),
    "one axis": ("kernel_size: 4 stride: 2 pad: 1", (2, 3, 11), ((5,), [2], [1], [1], 1)),
    "three axes": ("kernel_size: 2 stride: 2 pad: 1", (1, 2, 3, 4, 5), ((2, 3, 3), [2] * 3, [1] * 3, [1] * 3, 1)),
    "truncated to one output": ("kernel_size: 3 stride: 2", (1, 2, 2, 5), ((1, 2), [2, 2], [0, 0], [1, 1], 1)),
    "one channel": ("kernel_size: 3", (2, 1, 5, 4), ((3, 2), [1, 1], [0, 0], [1, 1], 1)),
    "one pixel": ("kernel_size: 1", (2, 5, 1, 1), ((1, 1), [1, 1], [0, 0], [1, 1], 1)),
}


def _taps(x: np.ndarray, place: tuple[int, ...], stride: list[int], pad: list[int], dilation: list[int], kernel):
    """(index in the kernel, value of x there, zero outside) for the window of output `place`; x is one channel."""
    for tap in np.ndindex(*kernel):
        at = tuple(o * s - p + d * t for o, s, p, d, t in zip(place, stride, pad, dilation, tap, strict=True))
        inside = all(0 <= i < n for i, n in zip(at, x.shape, strict=True))
        yield tap, at, x[at] if inside else 0.0, inside


def convolve(x, weight, bias, output, stride, pad, dilation, group) -> np.ndarray:
    """x (batch, channels, *size), weight (outputs, channels / group, *kernel), bias (outputs,) -> (.., *output)."""
    batch, outputs, per_group = x.shape[0], weight.shape[0], weight.shape[1]
    top = np.zeros((batch, outputs, *output))
    for n, o in np.ndindex(batch, outputs):
        first = (o // (outputs // group)) * per_group
        for place in np.ndindex(*output):
            total = bias[o]
            for c in range(per_group):
                for tap, _, value, _ in _taps(x[n, first + c], place, stride, pad, dilation, weight.shape[2:]):
                    total += weight[(o, c, *tap)] * value
            top[(n, o, *place)] = total
    return top


def deconvolve(x, weight, bias, output, stride, pad, dilation, group) -> np.ndarray:
    """The transpose: every value of x adds its kernel to the top; weight (channels, outputs / group, *kernel)."""
    batch, channels, per_group = x.shape[0], x.shape[1], weight.shape[1]
    top = np.zeros((batch, per_group * group, *output)) + bias.reshape(1, -1, *[1] * len(output))
    for n, c in np.ndindex(batch, channels):
        first = (c // (channels // group)) * per_group
        for o in range(per_group):
            for place in np.ndindex(*x.shape[2:]):
                plane = top[n, first + o]
                for tap, at, _, inside in _taps(plane, place, stride, pad, dilation, weight.shape[2:]):
                    if inside:
                        plane[at] += weight[(c, o, *tap)] * x[(n, c, *place)]
    return top


def columns(x, kernel, output, stride, pad, dilation) -> np.ndarray:
    """(batch, channels * taps, *output): channels outermost, taps in row-major order."""
    taps = int(np.prod(kernel))
    result = np.zeros((x.shape[0], x.shape[1] * taps, *output))
    for n, c in np.ndindex(*x.shape[:2]):
        for place in np.ndindex(*output):
            values = [value for _, _, value, _ in _taps(x[n, c], place, stride, pad, dilation, kernel)]
            for tap, value in enumerate(values):
                result[(n, c * taps + tap, *place)] = value
    return result
