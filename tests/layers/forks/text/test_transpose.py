"""Transpose."""

from __future__ import annotations

import itertools

import torch

from tests.layers.single import build

T, N, D, H = 4, 3, 2, 5


def test_transpose_moves_every_axis() -> None:
    layer = build('type: "Transpose" transpose_param { dim: 2 dim: 0 dim: 1 }', (T, N, D))
    x = torch.randn(T, N, D)
    y = layer(x)
    assert y.shape == layer.top_shapes([(T, N, D)])[0] == (D, T, N)
    for t, n, d in itertools.product(range(T), range(N), range(D)):
        assert y[d, t, n] == x[t, n, d]
