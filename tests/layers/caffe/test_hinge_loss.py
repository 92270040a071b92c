"""HingeLoss against plain loops."""

from __future__ import annotations

import pytest
import torch

from tests.layers.single import build
from tests.reference.losses import hinge_loss


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(("norm", "power"), [("L1", 1), ("L2", 2)])
def test_hinge_loss_is_that_of_the_loops(norm: str, power: int) -> None:
    scores, label = _random(7, 5), torch.randint(0, 5, (7, 1)).float()
    layer = build(f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}', (7, 5), (7, 1))
    wanted = hinge_loss(scores.detach().numpy(), label.numpy(), power)
    assert float(layer(scores, label).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, label), scores)


def test_a_hinge_margin_of_zero_has_no_gradient() -> None:
    scores = torch.tensor([[1.0, -1.0, 0.0]], requires_grad=True)
    build('type: "HingeLoss"', (1, 3), (1,))(scores, torch.zeros(1)).backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0, 0, 1]]


def test_scores_of_one_axis_are_of_one_class() -> None:
    layer = build('type: "HingeLoss"', (3,), (3,))
    scores = torch.tensor([0.5, -2.0, 1.5], requires_grad=True)
    loss = layer(scores, torch.zeros(3))
    loss.backward()
    assert float(loss.detach()) == pytest.approx((0.5 + 3 + 0) / 3)
    torch.testing.assert_close(scores.grad, torch.tensor([-1.0, -1.0, 0.0]) / 3)
