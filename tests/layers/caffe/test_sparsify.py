"""Sparsify against plain loops."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def _soft(x: float, threshold: float) -> float:
    return x - threshold if x > threshold else x + threshold if x < -threshold else 0.0


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


@pytest.mark.parametrize(("thre", "coef"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (0.5, 0.25)])
def test_sparsify_shrinks_and_pulls_its_top_towards_zero(thre: float, coef: float) -> None:
    x = torch.randn(SHAPE, requires_grad=True)
    top_gradient = torch.randn(SHAPE)
    y = build(f'type: "Sparsify" sparsify_param {{ thre: {thre} coef: {coef} }}', SHAPE)(x)
    y.backward(top_gradient)
    assert x.grad is not None
    tops = [_soft(value, thre) for value in x.flatten().tolist()]
    torch.testing.assert_close(y.flatten().tolist(), tops)
    wanted = [
        0.0 if thre and top == 0 else gradient + coef * _sign(top)
        for top, gradient in zip(tops, top_gradient.flatten().tolist(), strict=True)
    ]
    torch.testing.assert_close(x.grad.flatten().tolist(), wanted)


@pytest.mark.parametrize("field", ["thre", "coef"])
def test_sparsify_refuses_negative_parameters(field: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=rf"layer 'lay': sparsify_param.{field} is -0.5"):
        build(f'type: "Sparsify" sparsify_param {{ {field}: -0.5 }}', SHAPE)
