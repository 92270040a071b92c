"""Permute against plain loops over places; what it, ShuffleChannel and Reorg refuse."""

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


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('type: "Permute" permute_param { order: 1 order: 1 }', UnsupportedParameterError, "has duplicates"),
        ('type: "Permute" permute_param { order: 4 }', ShapeError, r"order \[4\] names axes"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', ShapeError, "cannot be divided into 3 groups"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 0 }', UnsupportedParameterError, "group is 0"),
        ('type: "Reorg" reorg_param { stride: 4 }', ShapeError, "cannot be reorganised with stride 4"),
        ('type: "Reorg"', UnsupportedParameterError, "stride is 0"),
        (
            'type: "Reorg" reorg_param { stride: 3 reverse: true }',
            ShapeError,
            "wanted .N, C, H, W., C a multiple of 9$",
        ),
    ],
)
def test_what_does_not_fit_is_named(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(text, SHAPE)
