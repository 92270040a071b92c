"""Gather and Scatter of one device are the identity."""

import pytest
import torch

from tests.layers.single import build


@pytest.mark.parametrize("kind", ["Gather", "Scatter"])
def test_each_top_is_its_bottom(kind: str) -> None:
    layer = build(f'type: "{kind}"', (2, 3), (4,), tops=2)
    a, b = torch.randn(2, 3), torch.randn(4)
    assert layer.top_shapes([(2, 3), (4,)]) == [(2, 3), (4,)]
    assert [found.tolist() for found in layer(a, b)] == [a.tolist(), b.tolist()]
    assert build(f'type: "{kind}"', (2, 3))(a) is a
