"""Threshold against its rule."""

from __future__ import annotations

import torch

from tests.layers.single import build


def test_threshold_is_strict_and_has_no_gradient() -> None:
    x = torch.tensor([0.4, 0.5, 0.6], requires_grad=True)
    y = build('type: "Threshold" threshold_param { threshold: 0.5 }', (3,))(x)
    assert y.tolist() == [0, 0, 1]
    assert not y.requires_grad
