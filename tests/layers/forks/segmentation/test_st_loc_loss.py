"""STLoss and LocLoss count what lies outside."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.layers.single import build


def test_losses_count_what_lies_outside() -> None:
    theta = torch.randn(2, 6, dtype=torch.float64) * 2
    total = 0.0
    for n, s, t in itertools.product(range(2), range(3), range(4)):
        for row in theta[n].view(2, 3).tolist():
            value = row[0] * (s * 2 / 3 - 1) + row[1] * (t * 2 / 4 - 1) + row[2]
            total += max(0.0, abs(value) - 1) ** 2 / 2
    loss = build('type: "STLoss" st_loss_param { output_H: 3 output_W: 4 }', (2, 6))(theta)
    assert float(loss) == pytest.approx(total / 24)
    x = torch.tensor([[0.5], [-2.0], [3.0], [-0.9]])
    assert float(build('type: "LocLoss" loc_loss_param { threshold: 1 }', (4, 1))(x)) == pytest.approx(2.5 / 4)
