"""SmoothL1Loss against plain loops."""

from __future__ import annotations

import pytest
import torch

from tests.layers.single import build


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("weights", [0, 1, 2])
def test_smooth_l1_loss_is_that_of_the_loops(weights: int) -> None:
    shape = (3, 4, 2)
    layer = build('type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 2 }', *[shape] * (2 + weights))
    a, b = _random(*shape), _random(*shape)
    given = [torch.rand(shape, dtype=torch.float64) for _ in range(weights)]
    inside = given[0] if weights else torch.ones(shape)
    outside = given[1] if weights == 2 else torch.ones(shape)
    wanted = 0.0
    for x, y, w_in, w_out in zip(*(t.flatten().tolist() for t in (a, b, inside, outside)), strict=True):
        d = abs(w_in * (x - y))
        wanted += w_out * (0.5 * (2 * d) ** 2 if d < 0.25 else d - 0.125)
    assert float(layer(a, b, *given).detach()) == pytest.approx(wanted / 3, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x, y: layer(x, y, *given), (a, b), fast_mode=True)
