"""LpqLoss against plain loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 2, 4)


@pytest.mark.parametrize(("prescale", "by_entries"), list(itertools.product([False, True], repeat=2)))
def test_the_loss_is_a_norm_over_channels_at_each_place(prescale: bool, by_entries: bool) -> None:
    fields = f"l2_prescale_by_channels: {str(prescale).lower()} normalize_by_num_entries: {str(by_entries).lower()}"
    text = f'type: "LpqLoss" lpq_loss_param {{ p: 1.5 q: 0.4 p_epsilon: 0.25 q_epsilon: 0.125 {fields} }}'
    a, b = torch.randn(SHAPE, dtype=torch.float64), torch.randn(SHAPE, dtype=torch.float64)
    b[1, 0, 1, 2] = math.nan
    a.requires_grad_()
    loss = build(text, SHAPE, SHAPE)(a, b)
    total = 0.0
    for n, h, w in itertools.product(range(2), range(2), range(4)):
        differences = (float((a[n, c, h, w] - b[n, c, h, w]).detach()) for c in range(3))
        inner = sum((0.25 + (0 if math.isnan(d) else abs(d))) ** 1.5 for d in differences)
        total += (0.125 + (inner / 3 if prescale else inner)) ** 0.4
    assert float(loss.detach()) == pytest.approx(total / (47 / 3 if by_entries else 2))
    loss.backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
    assert a.grad[1, 0, 1, 2] == 0


def test_one_bottom_is_its_own_difference_with_slope_minus_one_at_zero() -> None:
    x = torch.tensor([[2.0], [0.0]], requires_grad=True)
    loss = build('type: "LpqLoss" lpq_loss_param { p: 1 q: 1 q_epsilon: 0 }', (2, 1))(x)
    loss.backward()
    assert loss == 1
    assert x.grad is not None
    assert x.grad.tolist() == [[0.5], [-0.5]]


def test_a_schedule_is_refused() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': lpq_loss_param has 2 p"):
        build('type: "LpqLoss" lpq_loss_param { p: 1 p: 2 q: 1 q: 1 }', (2, 1))
