"""LSTM and LSTMUnit against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.layers.single import build
from tests.reference.recurrent import lstm

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
