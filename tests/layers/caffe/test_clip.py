"""Clip at its ends."""

from __future__ import annotations

import torch

from tests.layers.single import build
from tests.reference.elementwise import FORMULAS


def test_clip_gradient_passes_at_both_ends() -> None:
    x = torch.tensor([-1.5, -1.0, 0.0, 2.0, 2.5], requires_grad=True)
    build(FORMULAS["clip"][0], (5,))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
