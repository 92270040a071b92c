"""Silence."""

from __future__ import annotations

import torch

from tests.layers.single import build


def test_silence_gives_nothing() -> None:
    assert build('type: "Silence"', (2, 3), (4,), tops=0)(torch.zeros(2, 3), torch.zeros(4)) == ()
