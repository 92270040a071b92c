"""ShuffleChannel against plain loops over places."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.layers.single import build

SHAPE = (2, 8, 4, 6)


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_shuffle_deals_channels_from_piles(group: int) -> None:
    layer = build(f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', SHAPE)
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    size = SHAPE[1] // group
    for pile, i in itertools.product(range(group), range(size)):
        assert torch.equal(y[:, i * group + pile], x[:, pile * size + i])
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)
