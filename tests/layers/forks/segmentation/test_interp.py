"""Interp against plain loops; what it and Upsample refuse."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 7)


def _bilinear(plane: torch.Tensor, height: int, width: int) -> torch.Tensor:
    top = torch.zeros(height, width, dtype=plane.dtype)
    rows, columns = plane.shape
    for h, w in itertools.product(range(height), range(width)):
        y = h * (rows - 1) / (height - 1) if height > 1 else 0.0
        x = w * (columns - 1) / (width - 1) if width > 1 else 0.0
        y0, x0 = min(math.floor(y), rows - 1), min(math.floor(x), columns - 1)
        y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
        upper = plane[y0, x0] * (1 - x + x0) + plane[y0, x1] * (x - x0)
        lower = plane[y1, x0] * (1 - x + x0) + plane[y1, x1] * (x - x0)
        top[h, w] = upper * (1 - y + y0) + lower * (y - y0)
    return top


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ("height: 9 width: 4", (9, 4)),
        ("height: 1 width: 1", (1, 1)),
        ("zoom_factor: 2", (9, 13)),
        ("shrink_factor: 2", (3, 4)),
        ("shrink_factor: 2 zoom_factor: 3", (7, 10)),
        ("zoom_factor: 2 height: 99 width: 99", (9, 13)),
    ],
)
def test_interp_is_bilinear_with_fixed_corners(fields: str, size: tuple[int, int]) -> None:
    layer = build(f'type: "Interp" interp_param {{ {fields} }}', SHAPE)
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    assert y.shape == layer.top_shapes([SHAPE])[0] == (2, 3, *size)
    for n, c in itertools.product(range(2), range(3)):
        torch.testing.assert_close(y[n, c], _bilinear(x[n, c].detach(), *size))
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_interp_crops_first() -> None:
    x = torch.randn(SHAPE)
    y = build('type: "Interp" interp_param { pad_beg: -1 pad_end: -2 zoom_factor: 3 }', SHAPE)(x)
    assert y.shape == (2, 3, 4, 10)
    torch.testing.assert_close(y[0, 0], _bilinear(x[0, 0, 1:3, 1:5], 4, 10))


def test_interp_takes_the_size_of_a_second_bottom() -> None:
    assert build('type: "Interp"', SHAPE, (2, 9, 4, 3))(torch.randn(SHAPE), torch.randn(2, 9, 4, 3)).shape == (
        2,
        3,
        4,
        3,
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('type: "Interp"', UnsupportedParameterError, "interp_param gives no size"),
        ('type: "Interp" interp_param { pad_beg: 1 zoom_factor: 2 }', UnsupportedParameterError, "may not be positive"),
        ('type: "Interp" interp_param { zoom_factor: 0 }', UnsupportedParameterError, "zoom_factor is 0"),
        ('type: "Interp" interp_param { pad_beg: -5 zoom_factor: 2 }', ShapeError, "leaves nothing"),
        ('type: "Upsample" upsample_param { scale: 0 }', UnsupportedParameterError, "scale is 0 x 0"),
    ],
)
def test_what_does_not_fit_is_named(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(text, SHAPE)
