"""Flatten and Reshape: values only move."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ("", (2, 60)),
        ("axis: 2", (2, 3, 20)),
        ("axis: 1 end_axis: -2", (2, 15, 4)),
        ("axis: 0", (120,)),
        ("axis: -1", (2, 3, 5, 4)),
    ],
)
def test_flatten_keeps_the_order_of_channels_last_values_too(fields: str, shape: tuple[int, ...]) -> None:
    layer = build(f'type: "Flatten" flatten_param {{ {fields} }}', (2, 3, 5, 4))
    x = torch.arange(120.0).view(2, 3, 5, 4)
    for bottom in (x, x.contiguous(memory_format=torch.channels_last)):
        y = layer(bottom)
        assert y.shape == shape == layer.top_shapes([(2, 3, 5, 4)])[0]
        assert y.flatten().tolist() == list(range(120))


def test_flatten_refuses_a_reversed_range() -> None:
    with pytest.raises(ShapeError, match="layer 'lay': end_axis 0 comes before axis 2"):
        build('type: "Flatten" flatten_param { axis: 2 end_axis: 0 }', (2, 3, 4))


RESHAPES = [  # the cases of the documentation of ReshapeParameter in caffe.proto, for a 2 x 8 bottom, and odd ones
    ((2, 8), "shape { dim: 2 dim: 2 dim: 4 }", (2, 2, 4)),
    ((2, 8), "shape { dim: 0 dim: 2 dim: 4 }", (2, 2, 4)),
    ((2, 8), "shape { dim: 0 dim: 2 dim: -1 }", (2, 2, 4)),
    ((2, 8), "shape { dim: 0 dim: -1 dim: 4 }", (2, 2, 4)),
    ((2, 8), "axis: 1 shape { dim: 2 dim: 4 }", (2, 2, 4)),
    ((2, 8), "axis: 1 shape { dim: 2 dim: -1 }", (2, 2, 4)),
    ((2, 8), "axis: -3 shape { dim: 2 dim: 2 dim: 4 }", (2, 2, 4)),
    ((2, 8), "axis: 1 num_axes: 0 shape { dim: 1 }", (2, 1, 8)),
    ((2, 8), "shape { dim: 1 dim: 2 dim: 8 }", (1, 2, 8)),
    ((2, 8), "axis: 0 num_axes: 0 shape { dim: 1 }", (1, 2, 8)),
    ((2, 8), "axis: -1 num_axes: 0 shape { dim: 1 }", (2, 8, 1)),
    ((3, 4, 5, 2), "axis: 1 num_axes: 2 shape { dim: -1 }", (3, 20, 2)),
    ((3, 4, 5, 2), "axis: 2 shape { dim: 0 dim: 0 }", (3, 4, 5, 2)),
]


@pytest.mark.parametrize(("bottom", "fields", "top"), RESHAPES)
def test_reshape_as_its_documentation_says(bottom: tuple[int, ...], fields: str, top: tuple[int, ...]) -> None:
    layer = build(f'type: "Reshape" reshape_param {{ {fields} }}', bottom)
    x = torch.randn(bottom)
    y = layer(x)
    assert y.shape == top == layer.top_shapes([bottom])[0]
    assert torch.equal(y.flatten(), x.flatten())


def test_reshape_follows_another_batch_size() -> None:
    layer = build('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }', (2, 3, 4))
    assert layer(torch.zeros(5, 3, 4)).shape == (5, 12)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ("shape { dim: 2 dim: 5 }", ShapeError),
        ("shape { dim: 3 dim: -1 }", ShapeError),
        ("axis: 4 shape { dim: 1 }", ShapeError),
        ("axis: 1 num_axes: 3 shape { dim: 1 }", ShapeError),
        ("shape { dim: 0 dim: 0 dim: 0 }", ShapeError),
        ("shape { dim: -1 dim: -1 }", UnsupportedParameterError),
        ("shape { dim: -2 }", UnsupportedParameterError),
        ("num_axes: -2 shape { dim: -1 }", UnsupportedParameterError),
    ],
)
def test_reshape_refuses_what_does_not_fit(fields: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="layer 'lay': "):
        build(f'type: "Reshape" reshape_param {{ {fields} }}', (2, 8))
