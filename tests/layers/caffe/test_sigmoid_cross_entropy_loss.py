"""SigmoidCrossEntropyLoss against plain loops and values of Caffe."""

from __future__ import annotations

import math

import pytest
import torch

from tests.layers.single import build
from tests.reference.losses import sigmoid_loss


@pytest.mark.parametrize("rule", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignore", [None, 0, 255])
def test_sigmoid_loss_is_that_of_the_loops(rule: str, ignore: int | None) -> None:
    shape = (3, 5, 2)
    fields = f"normalization: {rule}" + ("" if ignore is None else f" ignore_label: {ignore}")
    layer = build(f'type: "SigmoidCrossEntropyLoss" loss_param {{ {fields} }}', shape, shape)
    scores = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.rand(shape, dtype=torch.float64).round(decimals=2)
    target.flatten()[::3] = 1
    if ignore is not None:
        target.flatten()[1::4] = ignore
    wanted = sigmoid_loss(scores.detach().numpy(), target.numpy(), rule, ignore)
    assert float(layer(scores, target).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, target), scores, fast_mode=True)


def test_compat_chooses_how_sigmoid_loss_is_normalised() -> None:
    scores, target = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 255.0], [1.0, 1.0, 0.0]])
    text = 'type: "SigmoidCrossEntropyLoss" loss_param { normalization: VALID ignore_label: 255 }'
    assert float(build(text, (2, 3), (2, 3))(scores, target)) == pytest.approx(math.log(2))
    whole = build(text, (2, 3), (2, 3), compat="wen2017")(scores, target)
    assert float(whole) == pytest.approx(6 * math.log(2) / 2), "the fork divides by the batch and ignores nothing"


def test_sigmoid_loss_of_huge_scores_is_finite() -> None:
    layer = build('type: "SigmoidCrossEntropyLoss"', (1, 2), (1, 2))
    scores = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = layer(scores, torch.tensor([[0.0, 1.0]]))
    loss.backward()
    assert float(loss.detach()) == 2e4
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1, -1]]


def test_a_small_sigmoid_loss_is_rounded_as_caffe_rounds_it() -> None:
    """From a CPU build of Caffe 1.0, whose loss lies 3.4e-5 of itself above the exact one, 0.000372248761."""
    x = torch.tensor([[9.0, -10.0, 8.5]], requires_grad=True)
    loss = build('type: "SigmoidCrossEntropyLoss"', (1, 3), (1, 3))(x, torch.tensor([[1.0, 0.0, 1.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.00037226127, rel=1e-6)
    assert x.grad.tolist() == [pytest.approx([-0.00012338161, 4.5397868e-05, -0.00020343065], rel=1e-6)]
