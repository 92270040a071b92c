"""Im2col against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.layers.base import Shape
from tests.layers.single import build
from tests.reference.convolution import columns

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


def _random(shape: Shape) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name not in ("groups", "one pixel")])
def test_im2col_lists_the_taps_of_every_window(name: str) -> None:
    fields, shape, (output, stride, pad, dilation, _) = CONVOLUTIONS[name]
    layer = build(f'type: "Im2col" convolution_param {{ {fields} }}', shape)
    x = _random(shape)
    expected = columns(x.numpy(), layer.windows.kernel, output, stride, pad, dilation)
    assert layer.top_shapes([shape]) == [expected.shape]
    assert np.array_equal(layer(x), expected)
