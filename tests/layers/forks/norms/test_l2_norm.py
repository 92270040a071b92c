"""L2Norm against the forks' loops over items and over places."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 4, 5)


@pytest.mark.parametrize(("fields", "added"), [("", 0.0), ("l2norm_param { eps: 0.5 }", 0.5)])
def test_an_item_is_divided_by_its_length(fields: str, added: float) -> None:
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    layer = build(f'type: "L2Norm" {fields}', SHAPE)
    for item, top in zip(x.detach(), layer(x), strict=True):
        length = math.sqrt(sum(value**2 for value in item.flatten().tolist())) + added
        assert top.flatten().tolist() == pytest.approx([value / length for value in item.flatten().tolist()])
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_an_item_of_zeros_stays_so_and_its_gradient_is_a_million_times_that_of_the_top() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    y = build('type: "L2Norm"', (2, 3))(x)
    y.backward(torch.tensor([[1.0, -2.0, 0.0], [0.0, 0.0, 0.0]]))
    assert not y.any() and x.grad is not None
    assert x.grad.tolist() == [pytest.approx([1e6, -2e6, 0]), [0, 0, 0]]


def test_l2_length_is_that_of_the_channels_at_each_place_and_a_constant_to_the_gradient() -> None:
    x = torch.randn(SHAPE, dtype=torch.float64)
    x[1, :, 2, 3] = 0
    x.requires_grad_()
    y = build('type: "L2Norm" l2norm_param { l2_length: 4 }', SHAPE)(x)
    weights = torch.randn(SHAPE, dtype=torch.float64)
    (y * weights).sum().backward()
    assert x.grad is not None
    for n, i, j in ((0, 0, 0), (0, 3, 4), (1, 1, 2), (1, 2, 3)):
        values = x[n, :, i, j].tolist()
        length = math.sqrt(sum(value**2 / 4 for value in values)) or 1
        assert y[n, :, i, j].tolist() == pytest.approx([value / length for value in values])
        assert x.grad[n, :, i, j].tolist() == pytest.approx([w / length for w in weights[n, :, i, j].tolist()])


def test_settings_and_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(UnsupportedParameterError, match="eps and l2_length are of two forks; give one"):
        build('type: "L2Norm" l2norm_param { eps: 1 l2_length: 1 }', SHAPE)
    with pytest.raises(UnsupportedParameterError, match="l2_length is -1; it must be positive"):
        build('type: "L2Norm" l2norm_param { l2_length: -1 }', SHAPE)
    with pytest.raises(ShapeError, match=r"\(3,\) has no second axis"):
        build('type: "L2Norm"', (3,))
