"""Concat and Slice: values only move."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build


@pytest.mark.parametrize("field", ["", "concat_param { axis: 1 }", "concat_param { concat_dim: 1 }"])
def test_concat_puts_channels_one_after_the_other(field: str) -> None:
    shapes = [(2, 3, 5), (2, 1, 5), (2, 4, 5)]
    layer = build(f'type: "Concat" {field}', *shapes)
    bottoms = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    y = layer(*bottoms)
    assert y.shape == (2, 8, 5) == layer.top_shapes(shapes)[0]
    assert torch.equal(y[:, :3], bottoms[0])
    assert torch.equal(y[:, 3], bottoms[1][:, 0])
    assert torch.equal(y[:, 4:], bottoms[2])
    assert torch.autograd.gradcheck(layer, bottoms)


@pytest.mark.parametrize("other", [(2, 3, 4), (2, 3)])
def test_concat_refuses_other_axes_that_differ(other: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottom 1 'b1' has shape \(2, 3.*\), bottom 0 \(2, 3, 5\)"):
        build('type: "Concat"', (2, 3, 5), other)


def test_concat_refuses_two_spellings_of_its_axis() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': axis and concat_dim are both given"):
        build('type: "Concat" concat_param { axis: 1 concat_dim: 1 }', (2, 3))


@pytest.mark.parametrize(
    ("fields", "tops", "sizes"),
    [
        ("", 3, [2, 2, 2]),
        ("slice_point: 1 slice_point: 4", 3, [1, 3, 2]),
        ("axis: -2", 2, [3, 3]),
        ("slice_dim: 1", 1, [6]),
    ],
)
def test_slice_cuts_where_asked(fields: str, tops: int, sizes: list[int]) -> None:
    layer = build(f'type: "Slice" slice_param {{ {fields} }}', (2, 6, 5), tops=tops)
    x = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True)
    parts = layer(x) if tops > 1 else (layer(x),)
    start = 0
    for part, size, shape in zip(parts, sizes, layer.top_shapes([(2, 6, 5)]), strict=True):
        assert part.shape == shape == (2, size, 5)
        assert torch.equal(part, x[:, start : start + size])
        start += size
    assert torch.autograd.gradcheck(layer, x)


def test_slice_follows_another_batch_size() -> None:
    layer = build('type: "Slice" slice_param { axis: 0 }', (4, 2), tops=2)
    a, b = layer(torch.arange(12.0).view(6, 2))
    assert a.shape == b.shape == (3, 2)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ("", ShapeError, "axis 1 of size 5 cannot be cut into 2 equal tops"),
        ("slice_point: 5", ShapeError, r"slice_point \[5\] must increase and lie between 0 and 5"),
        ("slice_point: 1 slice_point: 2", UnsupportedParameterError, "slice_point is given 2 times for 2 tops"),
    ],
)
def test_slice_refuses_cuts_that_do_not_fit(fields: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(f'type: "Slice" slice_param {{ {fields} }}', (2, 5), tops=2)
