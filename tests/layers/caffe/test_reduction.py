"""Reduction against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def _bottoms(number: int) -> list[torch.Tensor]:
    return [torch.randn(SHAPE, dtype=torch.float64).requires_grad_() for _ in range(number)]


REDUCE = {
    "SUM": sum,
    "ASUM": lambda values: sum(map(abs, values)),
    "SUMSQ": lambda values: sum(v * v for v in values),
    "MEAN": lambda values: sum(values) / len(values),
}


@pytest.mark.parametrize("axis", [0, 1, 3, -2])
@pytest.mark.parametrize("operation", REDUCE)
def test_reduction_of_all_axes_from_one_on(operation: str, axis: int) -> None:
    layer = build(f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: 1.5 }}', SHAPE)
    (x,) = _bottoms(1)
    kept = SHAPE[: axis % 4]
    rows = x.detach().reshape(*kept, -1).reshape(math.prod(kept), -1).tolist()
    y = layer(x)
    assert y.shape == kept == layer.top_shapes([SHAPE])[0]
    torch.testing.assert_close(y.flatten().tolist(), [1.5 * REDUCE[operation](row) for row in rows])
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)
