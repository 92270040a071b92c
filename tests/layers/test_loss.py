"""What losses have in common."""

from __future__ import annotations

from tests.layers.single import build


def test_losses_weigh_one_by_default() -> None:
    assert build('type: "EuclideanLoss"', (2, 3), (2, 3)).default_loss_weight == 1
    assert build('type: "ReLU"', (2, 3)).default_loss_weight == 0
