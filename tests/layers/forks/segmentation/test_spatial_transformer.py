"""SpatialTransformer and its losses against plain loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def test_each_place_reads_where_its_map_points() -> None:
    torch.manual_seed(1)
    text = 'type: "SpatialTransformer" st_param { theta_1_2: 0.25 theta_2_1: -0.5 output_H: 3 output_W: 6 }'
    x, free = torch.randn(SHAPE, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    found = build(text, SHAPE, (2, 4))(x, free)
    assert found.shape == (2, 3, 3, 6)
    for n, c, s, t in itertools.product(range(2), range(3), range(3), range(6)):
        a, b, d, e = free[n].tolist()
        down, across = s / 3 * 2 - 1, t / 6 * 2 - 1
        y = (a * down + 0.25 * across + b + 1) / 2 * 5
        z = (-0.5 * down + d * across + e + 1) / 2 * 4
        total = 0.0
        for row, column in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(z), math.floor(z) + 1)):
            if 0 <= row < 5 and 0 <= column < 4:
                total += (1 - abs(y - row)) * (1 - abs(z - column)) * float(x[n, c, row, column])
        assert float(found[n, c, s, t]) == pytest.approx(total)


def test_the_identity_gives_the_bottom_back() -> None:
    x = torch.randn(SHAPE)
    layer = build('type: "SpatialTransformer"', SHAPE, (2, 6))
    torch.testing.assert_close(layer(x, torch.tensor([[1.0, 0, 0, 0, 1, 0]] * 2)), x, rtol=1e-5, atol=1e-5)


def test_the_bottom_gets_a_gradient_only_if_asked() -> None:
    x, theta = torch.randn(SHAPE, requires_grad=True), torch.randn(2, 6, requires_grad=True)
    build('type: "SpatialTransformer" st_param { to_compute_dU: false }', SHAPE, (2, 6))(x, theta).sum().backward()
    assert x.grad is None
    assert theta.grad is not None


@pytest.mark.parametrize(
    ("text", "shapes", "error", "message"),
    [
        ('type: "SpatialTransformer"', (SHAPE, (2, 5)), ShapeError, r"wanted \(N, C, H, W\) and \(N, 6\)"),
        (
            'type: "SpatialTransformer" st_param { sampler_type: "cubic" }',
            (SHAPE, (2, 6)),
            UnsupportedParameterError,
            "'cubic'",
        ),
        ('type: "STLoss"', ((2, 6),), UnsupportedParameterError, "must be positive"),
        ('type: "STLoss" st_loss_param { output_H: 1 output_W: 1 }', ((2, 5),), ShapeError, r"wanted \(N, 6\)"),
        ('type: "LocLoss"', ((2, 1),), UnsupportedParameterError, "threshold is 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    text: str, shapes: tuple[tuple[int, ...], ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(text, *shapes)
