"""YoloSeg against its rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.layers.single import build


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("weighted", [False, True])
def test_segments_are_drawn_to_their_labels(weighted: bool) -> None:
    shape = (2, 2, 3, 3)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    labels = (torch.arange(36).view(shape) % 4 == 0).double()
    counts = labels.sum((2, 3))
    shapes = (shape, shape, (2, 2)) if weighted else (shape, shape)
    layer = build('type: "YoloSeg" yolo_seg_param { object_scale: 2 }', *shapes)
    loss = layer(x, labels, counts) if weighted else layer(x, labels)
    loss.backward()
    assert x.grad is not None
    total = 0.0
    for place in np.ndindex(shape):
        share = float(counts[:, place[1]].sum() / (18 - counts[:, place[1]].sum()))
        weight = 2 - share if weighted and labels[place] else 1
        delta = 2 * weight * (_sigmoid(x[place].item()) - labels[place].item())
        assert x.grad[place].item() == pytest.approx(delta / 2)
        total += delta * delta
    assert loss.item() == pytest.approx(total / 2)
