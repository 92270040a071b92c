"""What RNN and LSTM have in common: gradients, costs, bad input."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

T, N, D = 4, 3, 2


FILLERS = 'weight_filler { type: "gaussian" std: 0.7 } bias_filler { type: "gaussian" std: 0.5 }'


PARAM = f"recurrent_param {{ num_output: {D} {FILLERS} }}"


EXPOSED = f"recurrent_param {{ num_output: {D} expose_hidden: true {FILLERS} }}"


def _inputs(*features: int) -> tuple[torch.Tensor, torch.Tensor]:
    cont = torch.tensor([[0, 1, 0], [1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=torch.float64)
    return torch.randn(T, N, *features, dtype=torch.float64), cont


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_the_gradient_is_the_derivative_but_for_the_first_state(kind: str) -> None:
    layer = build(f'type: "{kind}" {PARAM}', (T, N, 3), (T, N)).double()
    x, cont = _inputs(3)

    def restarted(bottom: torch.Tensor, *blobs: torch.Tensor) -> torch.Tensor:
        layer.state = ()
        return layer(bottom, cont)

    assert torch.autograd.gradcheck(restarted, (x.requires_grad_(), *layer.blobs))


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
        (f'type: "RNN" {PARAM}', ((T, N, 3), (T, N), (N,)), 1, ShapeError, "the static input 'b2' has shape"),
        ('type: "LSTMUnit"', ((1, N, D), (1, N, D), (1, N)), 2, ShapeError, r"wanted \(1, N, D\)"),
    ],
)
def test_what_does_not_fit_is_named(
    text: str, shapes: tuple[tuple[int, ...], ...], tops: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(text, *shapes, tops=tops)
