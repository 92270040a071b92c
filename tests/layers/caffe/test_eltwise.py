"""Eltwise against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def _bottoms(number: int) -> list[torch.Tensor]:
    return [torch.randn(SHAPE, dtype=torch.float64).requires_grad_() for _ in range(number)]


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("operation", ["PROD", "SUM", "MAX"])
def test_eltwise_combines_element_by_element(operation: str, number: int) -> None:
    combine = {"PROD": math.prod, "SUM": sum, "MAX": max}[operation]
    bottoms = _bottoms(number)
    layer = build(f'type: "Eltwise" eltwise_param {{ operation: {operation} }}', *[SHAPE] * number)
    wanted = [combine(values) for values in zip(*(b.flatten().tolist() for b in bottoms), strict=True)]
    torch.testing.assert_close(layer(*bottoms).flatten().tolist(), wanted)
    assert torch.autograd.gradcheck(layer, bottoms, fast_mode=True)


def test_eltwise_sum_weighs_by_coeff() -> None:
    layer = build('type: "Eltwise" eltwise_param { coeff: 0.5 coeff: -2 coeff: 1 }', *[SHAPE] * 3)
    a, b, c = _bottoms(3)
    torch.testing.assert_close(layer(a, b, c), 0.5 * a - 2 * b + c)
    assert torch.autograd.gradcheck(layer, (a, b, c), fast_mode=True)


def test_eltwise_max_gives_ties_to_the_second_then_only_to_larger() -> None:
    layer = build('type: "Eltwise" eltwise_param { operation: MAX }', (4,), (4,), (4,))
    values = ([1.0, 2.0, 0.0, 5.0], [1.0, 1.0, 0.0, 5.0], [1.0, 2.0, 3.0, 4.0])
    bottoms = [torch.tensor(value, requires_grad=True) for value in values]
    layer(*bottoms).sum().backward()
    grads = [bottom.grad.tolist() for bottom in bottoms if bottom.grad is not None]
    assert grads == [[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]]


def test_eltwise_product_gradient_divides_where_asked() -> None:
    values = torch.tensor([2.0, 0.0]), torch.tensor([3.0, 4.0])
    grads = {}
    for stable in ("true", "false"):
        fields = f"operation: PROD stable_prod_grad: {stable}"
        bottoms = [value.clone().requires_grad_() for value in values]
        build(f'type: "Eltwise" eltwise_param {{ {fields} }}', (2,), (2,))(*bottoms).sum().backward()
        grads[stable] = bottoms[0].grad
    torch.testing.assert_close(grads["true"], torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(grads["false"], torch.tensor([3.0, math.nan]), equal_nan=True)  # 0 / 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("coeff: 1", "eltwise_param.coeff is given 1 times for 2 bottoms"),
        ("operation: MAX coeff: 1 coeff: 1", "eltwise_param.coeff goes with operation SUM only, found MAX"),
    ],
)
def test_eltwise_refuses_misplaced_coefficients(fields: str, message: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=f"layer 'lay': {message}"):
        build(f'type: "Eltwise" eltwise_param {{ {fields} }}', SHAPE, SHAPE)


def test_eltwise_refuses_unequal_shapes() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottom 1 'b1' has shape \(2, 3\), bottom 0 \(2, 4\)"):
        build('type: "Eltwise"', (2, 4), (2, 3))
