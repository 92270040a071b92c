"""ContrastiveLoss against plain loops."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build
from tests.reference.losses import contrastive_loss


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("legacy", [False, True])
def test_contrastive_loss_is_that_of_the_loops(legacy: bool) -> None:
    a, b = _random(9, 3), _random(9, 3)
    similar = torch.tensor([1.0, 0.0, 0.0] * 3)
    fields = f"margin: 2.5 legacy_version: {str(legacy).lower()}"
    layer = build(f'type: "ContrastiveLoss" contrastive_loss_param {{ {fields} }}', (9, 3), (9, 3), (9,))
    wanted = contrastive_loss(a.detach().numpy(), b.detach().numpy(), similar.numpy(), 2.5, legacy)
    loss = layer(a, b, similar)
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-12)
    loss.backward()
    for n in range(9):
        difference = (a[n] - b[n]).detach()
        squared = float((difference**2).sum())
        if similar[n]:
            factor = 1.0
        elif legacy:
            factor = -1.0 if squared < 2.5 else 0.0
        else:
            factor = -max(2.5 - squared**0.5, 0) / (squared**0.5 + 1e-4)  # Caffe keeps d away from 0
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad[n], factor * difference / 9)
        torch.testing.assert_close(b.grad[n], -factor * difference / 9)


def test_contrastive_pairs_that_coincide_have_no_gradient_and_no_nan() -> None:
    a = torch.ones(2, 3, requires_grad=True)
    layer = build('type: "ContrastiveLoss"', (2, 3), (2, 3), (2,))
    layer(a, torch.ones(2, 3), torch.tensor([0.0, 1.0])).backward()
    assert a.grad is not None
    assert not a.grad.any()


def test_pairs_that_coincide_have_second_derivatives() -> None:
    a = torch.ones(2, 3, requires_grad=True, dtype=torch.float64)
    layer = build('type: "ContrastiveLoss"', (2, 3), (2, 3), (2,)).double()
    loss = layer(a, a.detach(), torch.tensor([0.0, 1.0]))
    (gradient,) = torch.autograd.grad(loss, a, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), a)
    # the gradient of pair n is difference * factor / 2: here -(margin - 0) / (0 + 1e-4), and 1
    torch.testing.assert_close(second, torch.tensor([[-1e4], [1.0]], dtype=torch.float64).expand(2, 3) / 2)


@pytest.mark.parametrize("shapes", [((4, 3), (4, 2), (4,)), ((4, 3, 2), (4, 3, 2), (4,)), ((4, 3), (4, 3), (3,))])
def test_contrastive_loss_refuses_what_are_not_pairs(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ShapeError, match="layer 'lay': "):
        build('type: "ContrastiveLoss"', *shapes)


def test_features_of_one_axis_have_one_value_each() -> None:
    layer = build('type: "ContrastiveLoss"', (3,), (3,), (3,))
    a = torch.tensor([1.0, 0.5, 2.0], requires_grad=True)
    loss = layer(a, torch.tensor([0.0, 0.5, 1.75]), torch.tensor([1.0, 0.0, 0.0]))
    assert float(loss.detach()) == pytest.approx((1 + 1 + 0.75**2) / 6)
