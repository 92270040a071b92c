"""RNN against plain loops."""

from __future__ import annotations

import numpy as np
import torch

from tests.layers.single import build
from tests.reference.recurrent import rnn

T, N, D = 4, 3, 2


FILLERS = 'weight_filler { type: "gaussian" std: 0.7 } bias_filler { type: "gaussian" std: 0.5 }'


PARAM = f"recurrent_param {{ num_output: {D} {FILLERS} }}"


def _inputs(*features: int) -> tuple[torch.Tensor, torch.Tensor]:
    cont = torch.tensor([[0, 1, 0], [1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=torch.float64)
    return torch.randn(T, N, *features, dtype=torch.float64), cont


def _weights(layer: torch.nn.Module) -> list[np.ndarray]:
    return [blob.detach().numpy() for blob in layer.blobs]


def test_rnn_is_that_of_the_loops_and_carries_its_state() -> None:
    layer = build(f'type: "RNN" {PARAM}', (T, N, 3), (T, N)).double()
    h = np.zeros((N, D))
    for _ in range(2):
        x, cont = _inputs(3)
        wanted, h = rnn(x.numpy(), cont.numpy(), _weights(layer), h)
        torch.testing.assert_close(layer(x, cont).detach(), torch.from_numpy(wanted))
