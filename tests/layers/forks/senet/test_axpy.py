"""Axpy against its formula."""

from __future__ import annotations

import itertools

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


@pytest.mark.parametrize("scale", [(2, 3), (2, 3, 1, 1)])
def test_axpy_scales_each_channel_of_each_item(scale: tuple[int, ...]) -> None:
    layer = build('type: "Axpy"', scale, SHAPE, SHAPE)
    a, x, y = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in (scale, SHAPE, SHAPE))
    top = layer(a, x, y)
    for n, c in itertools.product(range(2), range(3)):
        torch.testing.assert_close(top[n, c], a[n, c] * x[n, c] + y[n, c])
    assert torch.autograd.gradcheck(layer, (a, x, y), fast_mode=True)


def test_axpy_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="layer 'lay': bottoms have shapes"):
        build('type: "Axpy"', (2, 4), SHAPE, SHAPE)
