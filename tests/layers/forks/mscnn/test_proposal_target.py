"""ProposalTarget against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import DataError
from tests.layers.single import build

TARGET = "cls_num: 3 batch_size: 4 fg_fraction: 0.5 num_img_per_batch: 2 fg_thr: 0.5 bg_thr_hg: 0.5 bg_thr_lw: 0.1 "


def test_targets_are_coded_where_their_class_stands() -> None:
    text = f'type: "ProposalTarget" proposal_target_param {{ {TARGET} img_width: 64 img_height: 64 }}'
    layer = build(text, (3, 5), (1, 7), tops=7)
    boxes = torch.tensor([[0.0, 0, 0, 9, 9], [0, 5, 0, 14, 9], [1, 0, 0, 9, 9]])
    truth = torch.tensor([[0.0, 0, 0, 9, 11, 2, 0]])
    rows, labels, targets, inside, outside, matches, weights = layer(boxes, truth)
    assert rows.shape == (4, 5, 1, 1)
    assert labels.flatten().tolist() == [2, 2, 0, 0]
    assert {tuple(row) for row in rows.flatten(1)[:2].tolist()} == {(0, 0, 0, 9, 9), (0, 0, 0, 9, 11)}
    first = rows.flatten(1)[:2].tolist().index([0, 0, 0, 9, 9])
    wanted = [0] * 8 + [0, 0.1, 0, math.log(1.2)]
    assert targets.flatten(1)[first].tolist() == pytest.approx(wanted)
    assert inside.flatten(1)[first].tolist() == outside.flatten(1)[first].tolist() == [0] * 8 + [1] * 4
    assert matches.flatten(1)[first].tolist() == pytest.approx([2, 0, 0, 9, 11, 100 / 120])
    assert not targets[2:].any()
    assert weights.flatten().tolist() == [1, 1, 1, 1]


def test_boxes_that_lack_are_drawn_away_from_true_ones() -> None:
    text = f'type: "ProposalTarget" proposal_target_param {{ {TARGET} img_width: 64 img_height: 48 }}'
    rows, labels, *_ = build(text, (1, 5), (1, 7), tops=6)(
        torch.tensor([[0.0, 0, 0, 9, 9]]), torch.tensor([[0.0, 0, 0, 9, 9, 1, 0]])
    )
    assert labels.flatten().tolist() == [1, 1, 0, 0]
    drawn = rows.flatten(1)[2:]
    assert (drawn[:, 3:] - drawn[:, 1:3] + 1 >= 32).all()


@pytest.mark.parametrize(
    ("fields", "label", "said"),
    [
        ("", 3, "holds class 3, wanted 0 to 2$"),
        ("", -1, "holds class -1, wanted 0 to 2$"),
        ("bbox_reg_param { cls_aware: false }", -1, "holds class -1, wanted 0 or more$"),
    ],
)
@pytest.mark.parametrize("ignored", [0, 1])
def test_a_true_box_of_no_class_is_told_unless_it_is_ignored(fields: str, label: int, said: str, ignored: int) -> None:
    text = f'type: "ProposalTarget" proposal_target_param {{ {TARGET} img_width: 64 img_height: 64 }} {fields}'
    layer = build(text, (1, 5), (1, 7), tops=6)
    bottoms = torch.tensor([[0.0, 0, 0, 9, 9]]), torch.tensor([[0.0, 0, 0, 9, 9, float(label), float(ignored)]])
    if ignored:
        assert not layer(*bottoms)[1].any()
        return
    with pytest.raises(DataError, match=said):
        layer(*bottoms)
