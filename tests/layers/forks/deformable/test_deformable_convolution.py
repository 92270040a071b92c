"""DeformableConvolution against plain loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from caffe_compat.errors import ShapeError
from tests.layers.single import build
from tests.reference.regions import between

SHAPE = (2, 4, 6, 5)


PARAM = "num_output: 6 kernel_h: 3 kernel_w: 2 pad: 1 stride: 2 dilation: 1 group: 2 deformable_group: 2"


OFFSETS = (2, 2 * 2 * 6, 3, 3)


def test_each_tap_reads_where_its_move_takes_it() -> None:
    torch.manual_seed(2)
    text = f'type: "DeformableConvolution" deformable_convolution_param {{ {PARAM} bias_filler {{ value: 0.5 }} }}'
    layer = build(text, SHAPE, OFFSETS).double()
    x, moves = torch.randn(SHAPE, dtype=torch.float64), torch.randn(OFFSETS, dtype=torch.float64) * 2
    weight = torch.randn(6, 2, 3, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.blobs[0].copy_(weight)
    wanted = torch.full((2, 6, 3, 3), 0.5, dtype=torch.float64)
    for n, o, h, w in itertools.product(range(2), range(6), range(3), range(3)):
        for c, i, j in itertools.product(range(2), range(3), range(2)):
            channel = c + 2 * (o // 3)
            first = (channel // 2) * 12 + 2 * (i * 2 + j)
            y = h * 2 - 1 + i + float(moves[n, first, h, w])
            z = w * 2 - 1 + j + float(moves[n, first + 1, h, w])
            if 0 <= y < 6 and 0 <= z < 5:
                wanted[n, o, h, w] += weight[o, c, i, j] * between(x[n, channel], y, z)
    torch.testing.assert_close(layer(x, moves), wanted)


def test_without_moves_it_is_a_convolution() -> None:
    layer = build(
        'type: "DeformableConvolution" deformable_convolution_param { num_output: 3 kernel_size: 3 pad: 2 dilation: 2 '
        'deformable_group: 1 '
        "weight_filler { type: 'gaussian' std: 1 } }",
        SHAPE, (2, 18, 6, 5),
    )  # fmt: skip
    x = torch.randn(SHAPE)
    plain = functional.conv2d(x, layer.blobs[0], None, 1, 2, 2)
    torch.testing.assert_close(layer(x, torch.zeros(2, 18, 6, 5)), plain)


def test_moves_must_fit_the_taps() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottom 'b1' is .*wanted \(2, 24, 3, 3\)"):
        build(f'type: "DeformableConvolution" deformable_convolution_param {{ {PARAM} }}', SHAPE, (2, 12, 3, 3))
