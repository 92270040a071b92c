"""Reverse and ReverseTime."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.layers.single import build

T, N, D, H = 4, 3, 2, 5


def test_reverse_runs_backwards() -> None:
    x = torch.randn(T, N, D)
    y = build('type: "Reverse" reverse_param { axis: 1 }', (T, N, D))(x)
    for n in range(N):
        assert torch.equal(y[:, n], x[:, N - 1 - n])


@pytest.mark.parametrize("copies", [True, False])
def test_reverse_time_turns_each_stream_up_to_its_length(copies: bool) -> None:
    field = f"copy_remaining: {str(copies).lower()}"
    layer = build(f'type: "ReverseTime" reverse_time_param {{ {field} }}', (T, N, D), (N,))
    x, lengths = torch.randn(T, N, D), [4, 1, 3]
    y = layer(x, torch.tensor(lengths))
    for n, t in itertools.product(range(N), range(T)):
        behind = x[t, n] if copies else torch.zeros(D)
        assert torch.equal(y[t, n], x[lengths[n] - 1 - t, n] if t < lengths[n] else behind)
