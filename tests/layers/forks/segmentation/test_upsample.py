"""Upsample against plain rules."""

from __future__ import annotations

import itertools

import pytest
import torch

from caffe_compat.errors import DataError
from tests.layers.single import build

SHAPE = (2, 3, 5, 7)


def test_upsample_repeats_every_value() -> None:
    layer = build('type: "Upsample" upsample_param { scale: 3 }', SHAPE)
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    assert y.shape == layer.top_shapes([SHAPE])[0] == (2, 3, 15, 21)
    for h, w in itertools.product(range(15), range(21)):
        assert torch.equal(y[..., h, w], x[..., h // 3, w // 3])
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


@pytest.mark.parametrize(
    ("fields", "size"),
    [("scale: 2", (6, 8)), ("scale: 2 pad_out_h: true", (5, 8)), ("upsample_h: 5 upsample_w: 8", (5, 8))],
)
def test_upsample_with_a_mask_undoes_max_pooling(fields: str, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    pooled, mask = torch.nn.functional.max_pool2d(image, 2, ceil_mode=True, return_indices=True)
    layer = build(f'type: "Upsample" upsample_param {{ {fields} }}', tuple(pooled.shape), tuple(mask.shape))
    y = layer(pooled, mask.double())
    assert y.shape == image.shape
    for place in itertools.product(*map(range, pooled.shape)):
        row, column = divmod(int(mask[place]), size[1])
        assert y[(*place[:2], row, column)] == pooled[place]
    assert (y != 0).sum() == pooled.numel()
    assert torch.autograd.gradcheck(lambda x: layer(x, mask.double()), pooled.requires_grad_(), fast_mode=True)


def test_a_mask_outside_the_plane_is_named() -> None:
    layer = build('type: "Upsample" upsample_param { scale: 2 }', (1, 1, 1, 1), (1, 1, 1, 1))
    with pytest.raises(DataError, match="layer 'lay': mask 'b1' names place 4 of a plane of 4"):
        layer(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 4.0))
