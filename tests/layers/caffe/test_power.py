"""Power: constants, and its gradient at 0."""

from __future__ import annotations

import math

import pytest
import torch

from tests.layers.single import build


@pytest.mark.parametrize(
    ("fields", "value"), [("power: 0", 1.0), ("scale: 0 shift: 3 power: 2", 9.0), ("scale: 0 power: -1", math.inf)]
)
def test_a_power_without_x_is_constant(fields: str, value: float) -> None:
    x = torch.randn(2, 3, requires_grad=True)
    y = build(f'type: "Power" power_param {{ {fields} }}', (2, 3))(x)
    assert torch.equal(y, torch.full((2, 3), value))
    assert not y.requires_grad


def test_power_has_a_gradient_where_its_base_is_zero() -> None:
    x = torch.zeros(3, requires_grad=True)
    build('type: "Power" power_param { power: 3 }', (3,))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 0]
