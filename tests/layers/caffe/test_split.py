"""Split adds up gradients."""

from __future__ import annotations

import torch

from tests.layers.single import build


def test_split_sums_the_gradients_of_its_tops() -> None:
    layer = build('type: "Split"', (2, 3), tops=3)
    x = torch.randn(2, 3, requires_grad=True)
    a, b, c = layer(x)
    (a + 2 * b + 4 * c).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full((2, 3), 7.0))
