"""Tile against its rule."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def _bottoms(number: int) -> list[torch.Tensor]:
    return [torch.randn(SHAPE, dtype=torch.float64).requires_grad_() for _ in range(number)]


@pytest.mark.parametrize("axis", [0, 1, 3, -2])
def test_tile_repeats_whole_blocks(axis: int) -> None:
    layer = build(f'type: "Tile" tile_param {{ axis: {axis} tiles: 3 }}', SHAPE)
    (x,) = _bottoms(1)
    y = layer(x)
    assert y.shape == layer.top_shapes([SHAPE])[0]
    for copy in range(3):
        assert torch.equal(y.narrow(axis, copy * SHAPE[axis], SHAPE[axis]), x)
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_tile_needs_its_count() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': tile_param\.tiles is 0"):
        build('type: "Tile"', SHAPE)
