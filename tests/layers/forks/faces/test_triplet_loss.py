"""TripletLoss against plain loops."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build


def test_triplets_count_what_the_margin_lacks() -> None:
    torch.manual_seed(6)
    a, p, n = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))
    loss = build('type: "TripletLoss" triplet_loss_param { margin: 0.5 }', *[(5, 3)] * 3)(a, p, n)
    loss.backward()
    total = 0.0
    for row in range(5):
        far = [sum((x - y) ** 2 for x, y in zip(a[row].tolist(), other[row].tolist(), strict=True)) for other in (p, n)]
        lacks = max(0.0, 0.5 + far[0] - far[1])
        total += lacks / 10
        for blob, pull in ((a, n - p), (p, p - a), (n, a - n)):
            assert blob.grad is not None
            torch.testing.assert_close(blob.grad[row], pull[row].detach() / 5 if lacks else torch.zeros(3).double())
    assert float(loss.detach()) == pytest.approx(total)


def test_triplets_are_vectors_of_one_size() -> None:
    with pytest.raises(ShapeError, match="layer 'lay': bottoms"):
        build('type: "TripletLoss"', (5, 3), (5, 3), (5, 4))
