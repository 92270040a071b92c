"""Im2col against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Shape
from tests.layers.single import build
from tests.reference.convolution import CONVOLUTIONS, columns


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


@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 3)), (2, (2, 3, 4))])
def test_im2col_refuses_channels_with_no_axis_behind_them(axis: int, shape: Shape) -> None:
    with pytest.raises(ShapeError, match=f"layer 'lay': bottom .* has no axis behind axis {axis}"):
        build(f'type: "Im2col" convolution_param {{ kernel_size: 2 axis: {axis} }}', shape)
