"""L1Loss against its formula."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build


def test_l1_loss_is_the_mean_distance_and_flat_at_zero() -> None:
    a = torch.tensor([[1.0, -2.0], [3.0, 0.5]], requires_grad=True)
    loss = build('type: "L1Loss"', (2, 2), (2, 2))(a, torch.tensor([[0.0, 0.0], [3.0, 1.0]]))
    loss.backward()
    assert float(loss.detach()) == 1.75
    assert a.grad is not None
    assert a.grad.tolist() == [[0.5, -0.5], [0, -0.5]]
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': l1_loss_param\.l2_per_location is True"):
        build('type: "L1Loss" l1_loss_param { l2_per_location: true }', (2, 2), (2, 2))
