"""Lstm against plain loops; what the layers of sequences refuse."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

T, N, D, H = 4, 3, 2, 5


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _lstm(x: list, blobs: list, cont: list, state: list) -> list:
    """junhyukoh's loops: gates input, forget, output, candidate; `state` is changed to that after the last step."""
    tops = []
    for t in range(T):
        row = []
        for n in range(N):
            h, c = state[n]
            gates = []
            for g in range(4 * H):
                total = blobs[2][g] + sum(w * v for w, v in zip(blobs[0][g], x[t][n], strict=True))
                gates.append(total + cont[t][n] * sum(w * v for w, v in zip(blobs[1][g], h, strict=True)))
            new_c = [
                cont[t][n] * _sigmoid(gates[H + d]) * c[d] + _sigmoid(gates[d]) * math.tanh(gates[3 * H + d])
                for d in range(H)
            ]
            state[n] = [_sigmoid(gates[2 * H + d]) * math.tanh(new_c[d]) for d in range(H)], new_c
            row.append(state[n][0])
        tops.append(row)
    return tops


TEXT = f'type: "Lstm" lstm_param {{ num_output: {H} weight_filler {{ type: "gaussian" std: 0.5 }} '


def test_lstm_goes_on_where_its_second_bottom_says_so() -> None:
    layer = build(TEXT + "bias_filler { type: 'gaussian' } }", (T, N, D), (T, N)).double()
    blobs = [blob.tolist() for blob in layer.blobs]
    cont = [[0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]]
    state = [([0.0] * H, [0.0] * H) for _ in range(N)]
    for first in (0, 1):
        cont[0] = [first] * N
        x = torch.randn(T, N, D, dtype=torch.float64)
        wanted = torch.tensor(_lstm(x.tolist(), blobs, cont, state), dtype=torch.float64)
        torch.testing.assert_close(layer(x, torch.tensor(cont)).detach(), wanted)


def test_lstm_without_second_bottom_starts_anew_and_takes_rows() -> None:
    layer = build(TEXT + f"batch_size: {N} }}", (T * N, D)).double()
    x = torch.randn(T * N, D, dtype=torch.float64)
    y = layer(x)
    assert y.shape == layer.top_shapes([(T * N, D)])[0] == (T * N, H)
    torch.testing.assert_close(layer(x), y)
    cont = [[0] * N] + [[1] * N] * (T - 1)
    state = [([0.0] * H, [0.0] * H) for _ in range(N)]
    wanted = _lstm(x.view(T, N, D).tolist(), [blob.tolist() for blob in layer.blobs], cont, state)
    torch.testing.assert_close(y.detach().view(T, N, H), torch.tensor(wanted, dtype=torch.float64))


def test_the_gradient_of_gates_is_clipped() -> None:
    layer = build(TEXT + "clipping_threshold: 0.001 }", (1, 1, D)).double()
    layer(torch.ones(1, 1, D, dtype=torch.float64)).sum().backward()
    bias = layer.blobs[2].grad
    assert bias is not None
    assert bias.abs().max().item() == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ('type: "Transpose" transpose_param { dim: 1 dim: 0 }', [(T, N, D)], r"must name each axis"),
        ('type: "Reverse" reverse_param { axis: 3 }', [(T, N, D)], "axis 3 is out of range"),
        ('type: "ReverseTime"', [(T, N, D), (T,)], "N lengths"),
        ('type: "Lstm" lstm_param { num_output: 2 batch_size: 5 }', [(T * N, D)], r"neither \(T, N, inputs\) nor"),
        ('type: "Lstm" lstm_param { num_output: 2 }', [(T, N, D), (T,)], "must have 4 x 3 values"),
    ],
)
def test_what_does_not_fit_is_named(text: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ShapeError, match=f"layer 'lay': .*{message}"):
        build(text, *shapes)


def test_lstm_needs_outputs() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': lstm_param.num_output is 0"):
        build('type: "Lstm"', (T, N, D))
