"""EuclideanLoss against its formula."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def test_euclidean_loss_is_half_the_mean_square_distance_for_both_bottoms() -> None:
    a, b = _random(3, 2, 5), _random(3, 10)
    layer = build('type: "EuclideanLoss"', (3, 2, 5), (3, 10))
    wanted = sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / 6
    assert float(layer(a, b).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(layer, (a, b))


def test_euclidean_loss_needs_equal_counts() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottoms 'b0' \(3, 2\) and 'b1' \(3, 3\) must hold equally"):
        build('type: "EuclideanLoss"', (3, 2), (3, 3))
