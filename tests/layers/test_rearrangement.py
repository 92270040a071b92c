"""Permute, ShuffleChannel and Reorg against plain loops over places."""

from __future__ import annotations

import itertools

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 8, 4, 6)


@pytest.mark.parametrize(("order", "axes"), [((0, 2, 3, 1), (0, 2, 3, 1)), ((0, 3), (0, 3, 1, 2)), ((), (0, 1, 2, 3))])
def test_permute_names_the_first_axes(order: tuple[int, ...], axes: tuple[int, ...]) -> None:
    fields = " ".join(f"order: {axis}" for axis in order)
    layer = build(f'type: "Permute" permute_param {{ {fields} }}', SHAPE)
    x = torch.randn(SHAPE)
    y = layer(x)
    assert y.shape == layer.top_shapes([SHAPE])[0] == tuple(SHAPE[axis] for axis in axes)
    for place in itertools.product(*map(range, y.shape)):
        source = [0] * 4
        for index, axis in zip(place, axes, strict=True):
            source[axis] = index
        assert y[place] == x[tuple(source)]


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_shuffle_deals_channels_from_piles(group: int) -> None:
    layer = build(f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', SHAPE)
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    size = SHAPE[1] // group
    for pile, i in itertools.product(range(group), range(size)):
        assert torch.equal(y[:, i * group + pile], x[:, pile * size + i])
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_reorg_is_darknets_walk_over_memory() -> None:
    layer = build('type: "Reorg" reorg_param { stride: 2 }', SHAPE)
    x = torch.randn(SHAPE)
    n, c, h, w = SHAPE
    memory = torch.zeros(n * c * h * w)
    for b, k, j, i in itertools.product(range(n), range(c), range(h), range(w)):
        offset, channel = divmod(k, c // 4)
        row, column = j * 2 + offset // 2, i * 2 + offset % 2
        memory[column + w * 2 * (row + h * 2 * (channel + c // 4 * b))] = x[b, k, j, i]
    y = layer(x)
    assert y.shape == layer.top_shapes([SHAPE])[0] == (n, c * 4, h // 2, w // 2)
    assert torch.equal(y.flatten(), memory)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('type: "Permute" permute_param { order: 1 order: 1 }', UnsupportedParameterError, "has duplicates"),
        ('type: "Permute" permute_param { order: 4 }', ShapeError, r"order \[4\] names axes"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', ShapeError, "cannot be divided into 3 groups"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 0 }', UnsupportedParameterError, "group is 0"),
        ('type: "Reorg" reorg_param { stride: 4 }', ShapeError, "cannot be reorganised with stride 4"),
        ('type: "Reorg"', UnsupportedParameterError, "stride is 0"),
        ('type: "Reorg" reorg_param { stride: 2 reverse: true }', UnsupportedParameterError, "reverse true"),
    ],
)
def test_what_does_not_fit_is_named(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(text, SHAPE)
