"""RNN, LSTM and LSTMUnit against plain loops over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build
from tests.reference.recurrent import lstm, rnn

T, N, D = 4, 3, 2
FILLERS = 'weight_filler { type: "gaussian" std: 0.7 } bias_filler { type: "gaussian" std: 0.5 }'
PARAM = f"recurrent_param {{ num_output: {D} {FILLERS} }}"
EXPOSED = f"recurrent_param {{ num_output: {D} expose_hidden: true {FILLERS} }}"


def _inputs(*features: int) -> tuple[torch.Tensor, torch.Tensor]:
    cont = torch.tensor([[0, 1, 0], [1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=torch.float64)
    return torch.randn(T, N, *features, dtype=torch.float64), cont


def _weights(layer: torch.nn.Module) -> list[np.ndarray]:
    return [blob.detach().numpy() for blob in layer.blobs]


@pytest.mark.parametrize("features", [(3,), (2, 5)])
def test_lstm_is_that_of_the_loops_and_carries_its_state(features: tuple[int, ...]) -> None:
    layer = build(f'type: "LSTM" {PARAM}', (T, N, *features), (T, N)).double()
    h, c = np.zeros((N, D)), np.zeros((N, D))
    for _ in range(2):
        x, cont = _inputs(*features)
        wanted, h, c = lstm(x.numpy(), cont.numpy(), _weights(layer), h, c, None)
        torch.testing.assert_close(layer(x, cont).detach(), torch.from_numpy(wanted))


def test_rnn_is_that_of_the_loops_and_carries_its_state() -> None:
    layer = build(f'type: "RNN" {PARAM}', (T, N, 3), (T, N)).double()
    h = np.zeros((N, D))
    for _ in range(2):
        x, cont = _inputs(3)
        wanted, h = rnn(x.numpy(), cont.numpy(), _weights(layer), h)
        torch.testing.assert_close(layer(x, cont).detach(), torch.from_numpy(wanted))


def test_a_static_input_and_exposed_states_enter_the_gates() -> None:
    state = (1, N, D)
    layer = build(f'type: "LSTM" {EXPOSED}', (T, N, 3), (T, N), (N, 5), state, state, tops=3).double()
    assert [tuple(blob.shape) for blob in layer.blobs] == [(4 * D, 3), (4 * D,), (4 * D, 5), (4 * D, D)]
    x, cont = _inputs(3)
    static, h, c = (torch.randn(*shape, dtype=torch.float64) for shape in ((N, 5), state, state))
    wanted = lstm(x.numpy(), cont.numpy(), _weights(layer), h[0].numpy(), c[0].numpy(), static.numpy())
    top, last_h, last_c = layer(x, cont, static, h, c)
    for found, value in ((top, wanted[0]), (last_h, wanted[1][None]), (last_c, wanted[2][None])):
        torch.testing.assert_close(found.detach(), torch.from_numpy(value))
    assert not last_h.requires_grad, "a gradient given to an exposed state goes nowhere"


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_the_gradient_is_the_derivative_but_for_the_first_state(kind: str) -> None:
    layer = build(f'type: "{kind}" {PARAM}', (T, N, 3), (T, N)).double()
    x, cont = _inputs(3)

    def restarted(bottom: torch.Tensor, *blobs: torch.Tensor) -> torch.Tensor:
        layer.state = ()
        return layer(bottom, cont)

    assert torch.autograd.gradcheck(restarted, (x.requires_grad_(), *layer.blobs))


def test_another_number_of_streams_starts_from_zeros() -> None:
    layer = build(f'type: "LSTM" {PARAM}', (T, N, 3), (T, N)).double()
    x, cont = _inputs(3)
    layer(x, cont)
    alone = layer(x[:, :1], torch.ones(T, 1, dtype=torch.float64))
    layer.state = ()
    torch.testing.assert_close(alone, layer(x[:, :1], torch.ones(T, 1, dtype=torch.float64)))


def test_lstm_unit_forgets_where_cont_is_zero() -> None:
    layer = build('type: "LSTMUnit"', (1, N, D), (1, N, 4 * D), (1, N), tops=2)
    c = torch.randn(1, N, D, dtype=torch.float64, requires_grad=True)
    gates = torch.randn(1, N, 4 * D, dtype=torch.float64, requires_grad=True)
    cont = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    i, f, o = (torch.sigmoid(gates[..., k * D : (k + 1) * D]) for k in range(3))
    wanted = cont[..., None] * f * c + i * torch.tanh(gates[..., 3 * D :])
    new_c, h = layer(c, gates, cont)
    torch.testing.assert_close(new_c, wanted)
    torch.testing.assert_close(h, o * torch.tanh(wanted))
    assert torch.autograd.gradcheck(lambda a, b: layer(a, b, cont), (c, gates))


def test_multiply_adds_count_every_weight_once_a_step() -> None:
    layer = build(f'type: "LSTM" {PARAM}', (T, N, 3), (T, N))
    assert layer.multiply_adds([(T, N, 3), (T, N)], [(T, N, D)]) == T * N * (4 * D * 3 + 4 * D * D)


@pytest.mark.parametrize(
    ("text", "shapes", "tops", "error", "message"),
    [
        ('type: "LSTM"', ((T, N, 3), (T, N)), 1, UnsupportedParameterError, "recurrent_param.num_output is 0"),
        (f'type: "LSTM" {PARAM}', ((T, N, 3), (N, T)), 1, ShapeError, r"\(T, N, C, ...\) and \(T, N\)"),
        (f'type: "RNN" {PARAM}', ((T, N), (T, N)), 1, ShapeError, r"\(T, N, C, ...\) and \(T, N\)"),
        (f'type: "LSTM" {EXPOSED}', ((T, N, 3), (T, N)), 3, ShapeError, "wanted 4 bottoms"),
        (
            f'type: "RNN" {EXPOSED}',
            ((T, N, 3), (T, N), (1, N, 5)),
            2,
            ShapeError,
            r"first state 'b2' .* wanted \(1, 3, 2\)",
        ),
        (f'type: "RNN" {PARAM}', ((T, N, 3), (T, N), (5, 1)), 1, ShapeError, "the static input 'b2' has shape"),
        ('type: "LSTMUnit"', ((1, N, D), (1, N, D), (1, N)), 2, ShapeError, r"wanted \(1, N, D\)"),
    ],
)
def test_what_does_not_fit_is_named(
    text: str, shapes: tuple[tuple[int, ...], ...], tops: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(text, *shapes, tops=tops)
