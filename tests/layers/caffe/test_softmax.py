"""Softmax over any axis."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax_of_every_column(axis: int) -> None:
    shape = (2, 3, 5)
    x = torch.randn(shape, dtype=torch.float64)
    layer = build(f'type: "Softmax" softmax_param {{ axis: {axis} }}', shape)
    columns = x.movedim(axis, -1).reshape(-1, shape[axis]).tolist()
    wanted = [[math.exp(v) / sum(map(math.exp, column)) for v in column] for column in columns]
    found = layer(x).movedim(axis, -1).reshape(-1, shape[axis]).tolist()
    torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(layer, x.requires_grad_())


def test_softmax_of_huge_scores_is_finite() -> None:
    y = build('type: "Softmax"', (1, 3))(torch.tensor([[1e30, -1e30, 1e30]]))
    assert y.tolist() == [[0.5, 0, 0.5]]


def test_an_axis_that_is_not_there_is_named() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': softmax_param.axis 3 is out of range for .* \(2, 3\)"):
        build('type: "Softmax" softmax_param { axis: 3 }', (2, 3))
