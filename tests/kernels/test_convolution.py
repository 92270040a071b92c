"""The loop of convolution alone, against plain loops over taps in float64."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels.switch import needs_loops
from tests.reference.convolution import convolve

pytestmark = needs_loops

Pair = tuple[int, int]


@dataclass
class Case:
    """framed: whether the loop copies what windows read, with zeros around it, which pads need."""

    shape: tuple[int, int, int, int]  # batch, height, width, channels
    filters: int
    group: int = 1
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)
    framed: bool = False
    together: Pair = (2, 1)  # tiles and panels

    @property
    def output(self) -> Pair:
        axes = zip(self.shape[1:3], self.pad, self.dilation, self.kernel, self.stride, strict=True)
        height, width = ((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, p, d, k, s in axes)
        return height, width

    @property
    def room(self) -> int:
        """Bytes of the largest part of an image, with its pads, that any tiles need."""
        extent = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        rows = (self.output[0] - 1) * self.stride[0] + extent[0]
        columns = (self.output[1] - 1) * self.stride[1] + extent[1]
        return rows * columns * (self.shape[3] // self.group) * 4 if self.framed else 0


CASES = {
    "one value": Case((2, 4, 5, 3), 5),
    "just a tile": Case((1, 1, 7, 20), 16),
    "windows of rows": Case((1, 5, 6, 2), 17, kernel=(2, 3)),
    "pads": Case((2, 3, 5, 2), 17, kernel=(3, 3), pad=(1, 2), framed=True),
    "groups and strides": Case((1, 5, 9, 2), 2 * 17, 2, (3, 2), (1, 2), framed=True),
    "groups where they lie": Case((1, 5, 9, 2), 2 * 17, 2, (3, 2), (1, 2)),
    "far taps": Case((1, 6, 8, 2), 17, kernel=(3, 2), dilation=(2, 3)),
    "a pad larger than the image": Case((1, 1, 9, 2), 16, kernel=(3, 3), stride=(3, 2), pad=(2, 4), dilation=(2, 1),
                                        framed=True),
    "two panels": Case((1, 3, 5, 2), 70, together=(1, 2)),
    "two panels apart": Case((1, 3, 5, 2), 70, together=(3, 1)),
}  # fmt: skip


def packed(weight: np.ndarray, group: int) -> np.ndarray:
    """(filters, channels, rows, columns): by group and panel of 64 filters, up to whole vectors; filters innermost."""
    own = len(weight) // group
    panels = []
    for g in range(group):
        filters = np.zeros((-(-own // 16) * 16, *weight.shape[1:]), np.float32)
        filters[:own] = weight[g * own : (g + 1) * own]
        panels += [filters[first : first + 64].transpose(2, 3, 1, 0).ravel() for first in range(0, len(filters), 64)]
    return np.concatenate(panels)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("threads, has_other, rectifies", [(1, False, True), (2, True, False)])
def test_tops_are_those_of_plain_loops(name, threads, has_other, rectifies, placed):
    from caffe_compat.kernels.convolution import convolve as loop

    case, random = CASES[name], np.random.default_rng(0)
    own, channels = case.filters // case.group, case.shape[3] // case.group
    x, weight, bias, other = (
        random.integers(-3, 4, shape).astype(np.float32)
        for shape in (case.shape, (case.filters, channels, *case.kernel), case.filters,
                      (case.shape[0], *case.output, case.filters))
    )  # fmt: skip
    biases = np.zeros((case.group, -(-own // 16) * 16), np.float32)
    biases[:, :own] = bias.reshape(case.group, own)
    bottom, top, bank, added = map(placed, (x, np.full_like(other, math.nan), packed(weight, case.group), other))
    frames = placed(np.zeros(max(loop.parts(threads) * case.room, 1), np.uint8))
    least = struct.unpack("q", struct.pack("d", 0.0 if rectifies else -math.inf))[0]
    words = (
        bottom, top, added if has_other else 0, frames, bank, placed(biases),
        *case.shape[:3], channels, case.group, *case.output, own, *case.kernel, *case.stride, *case.pad, *case.dilation,
        *bottom.strides, *top.strides[:3], *(added.strides[:3] if has_other else (0, 0, 0)),
        least, *case.together, case.room, 0,
    )  # fmt: skip
    loop(1, *words, threads=threads)
    planes = x.transpose(0, 3, 1, 2).astype(float)
    wanted = convolve(planes, weight, bias, case.output, case.stride, case.pad, case.dilation, case.group)
    wanted = wanted.transpose(0, 2, 3, 1) + (other if has_other else 0)
    np.testing.assert_array_equal(top, np.maximum(wanted, 0) if rectifies else wanted)  # sums of integers are exact
