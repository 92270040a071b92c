"""Filter."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build


def test_filter_keeps_what_is_selected_in_every_bottom() -> None:
    layer = build('type: "Filter"', (4, 3), (4, 2, 2), (4, 1), tops=2)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    z = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    selector = torch.tensor([[1.0], [0.0], [0.0], [-0.5]])
    kept_x, kept_z = layer(x, z, selector)
    assert torch.equal(kept_x, x[[0, 3]])
    assert torch.equal(kept_z, z[[0, 3]])
    assert torch.autograd.gradcheck(lambda a, b: layer(a, b, selector), (x, z))
    assert layer(x, z, torch.zeros(4, 1))[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("shapes", "tops"), [(((4, 3), (4, 2)), 1), (((4, 3), (3,)), 1), (((4, 3), ()), 1), (((4, 3), (4, 3), (4,)), 1)]
)
def test_filter_refuses_a_selector_that_does_not_fit(shapes: tuple[tuple[int, ...], ...], tops: int) -> None:
    with pytest.raises(ShapeError, match="layer 'lay': "):
        build('type: "Filter"', *shapes, tops=tops)
