"""DecodeBBox against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import DataError
from tests.layers.single import build


def test_decoded_boxes_move_by_the_offsets_of_class_1() -> None:
    text = 'type: "DecodeBBox" bbox_reg_param { bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 '
    text += "bbox_std: 0.1 bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2 }"
    offsets = torch.zeros(2, 8, 1, 1)
    offsets[0, 4:, 0, 0] = torch.tensor([1.0, 2.0, 0.0, 5 * math.log(2)])
    boxes = torch.tensor([[1.0, 0, 0, 9, 9], [0.0, 2, 3, 4, 5]]).view(2, 5, 1, 1)
    top = build(text, (2, 8, 1, 1), (2, 5, 1, 1))(offsets, boxes)
    assert top.flatten(1)[0].tolist() == pytest.approx([1, 1, 4.5 + 2 - 9.5, 10, 4.5 + 2 - 9.5 + 19])
    assert top.flatten(1)[1].tolist() == pytest.approx([0, 2, 3, 4, 5])
    layer = build(text, (2, 8), (2, 5), (2, 6), phase="TRAIN")
    matches = torch.zeros(2, 6)
    matches[0, 5] = 0.96
    assert layer(offsets.flatten(1), boxes.flatten(1), matches).flatten(1)[:, 0].tolist() == [0]
    with pytest.raises(DataError, match="layer 'lay': no box of 'b1' is left"):
        layer(offsets.flatten(1), boxes.flatten(1), torch.ones(2, 6))
