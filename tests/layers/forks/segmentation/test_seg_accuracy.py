"""SegAccuracy against plain counts; what it and SegmentationEvaluate refuse."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build


def _scores(found: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(found), 3).float().T.reshape(1, 3, 1, len(found))


def test_segmentation_is_scored_by_pixels_classes_and_overlaps() -> None:
    fields = "ignore_label: 255 ignore_label: 7 reset: false"
    layer = build(f'type: "SegAccuracy" seg_accuracy_param {{ {fields} }}', (1, 3, 1, 6), (1, 1, 1, 6))
    labels = torch.tensor([0.0, 0, 1, 1, 255, 7]).view(1, 1, 1, 6)
    top = layer(_scores([0, 1, 1, 1, 2, 2]), labels)
    # right 3 of 4; recalls 1/2 and 1; overlaps 1/2, 2/3, and 1 of the class that nobody has
    assert top.shape == (1, 1, 1, 3)
    assert top.flatten().tolist() == pytest.approx([3 / 4, 3 / 4, (1 / 2 + 2 / 3 + 1) / 3])
    top = layer(_scores([2, 2, 2, 2, 2, 2]), labels)
    assert top.flatten()[0].item() == pytest.approx(3 / 8)


def test_without_state_every_batch_stands_alone_and_ties_go_to_the_higher_class() -> None:
    layer = build('type: "SegAccuracy"', (1, 3, 1, 2), (1, 1, 1, 2))
    for _ in range(2):
        assert layer(torch.zeros(1, 3, 1, 2), torch.tensor([2.0, 1]).view(1, 1, 1, 2)).flatten()[0] == 0.5


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted"):
        build('type: "SegAccuracy"', (1, 3, 1, 6), (1, 1, 6, 1))
    with pytest.raises(DataError, match="layer 'lay': labels hold 255, wanted 0 to 2"):
        build('type: "SegAccuracy"', (1, 3, 1, 1), (1, 1, 1, 1))(_scores([0]), torch.full((1, 1, 1, 1), 255.0))
    layer = build('type: "SegmentationEvaluate"', (1, 3, 1, 4), (1, 3, 2, 8))
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*only equal sizes"):
        layer(torch.zeros(1, 3, 1, 4), torch.zeros(1, 3, 2, 8))
