"""Parameter."""

from __future__ import annotations

import torch

from tests.layers.single import build


def test_parameter_gives_its_blob() -> None:
    layer = build('type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }')
    assert layer.blobs[0].shape == (2, 3)
    layer().sum().backward()
    assert torch.equal(layer.blobs[0].grad, torch.ones(2, 3))
