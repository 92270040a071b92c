"""MultinomialLogisticLoss against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.layers.single import build


def test_multinomial_loss_is_the_mean_log_with_a_gradient_below_the_clamp() -> None:
    layer = build('type: "MultinomialLogisticLoss"', (3, 2), (3,))
    probability = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]], requires_grad=True)
    loss = layer(probability, torch.tensor([0.0, 1.0, 0.0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-(math.log(0.5) + math.log(0.75) + math.log(1e-20)) / 3)
    assert probability.grad is not None
    wanted = np.array([[-2, 0], [0, -1 / 0.75], [-1e20, 0]]) / 3
    np.testing.assert_allclose(probability.grad.numpy(), wanted, rtol=1e-6)


def test_probabilities_of_one_axis_are_of_one_class() -> None:
    layer = build('type: "MultinomialLogisticLoss"', (2,), (2,))
    loss = layer(torch.tensor([0.5, 0.25]), torch.zeros(2))
    assert float(loss) == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2)
