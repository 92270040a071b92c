"""SegmentationEvaluate counts overlaps."""

from __future__ import annotations

import pytest
import torch

from tests.layers.single import build


def test_overlap_of_each_channel_of_the_first_item() -> None:
    layer = build('type: "SegmentationEvaluate"', (2, 3, 1, 4), (2, 3, 1, 4))
    found, labels = torch.zeros(2, 3, 1, 4), torch.zeros(2, 3, 1, 4)
    found[0, 0, 0] = torch.tensor([0.9, 0.9, 0.1, 0.6])
    labels[0, 0, 0] = torch.tensor([1.0, 0, 0, 1])
    labels[0, 1, 0, 0] = 1
    assert layer(found, labels).flatten().tolist() == pytest.approx([2 / 3, 0, 0])
