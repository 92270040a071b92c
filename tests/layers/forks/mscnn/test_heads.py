"""The layers of MS-CNN against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build

HEAD, LABEL = (2, 7, 3, 4), (2, 6, 3, 4)
FIELDS = "cls_num: 3 field_w: 20 field_h: 30 downsample_rate: 8 field_whr: 2 field_xyr: 2"


def _shared(a: list[float], b: list[float]) -> float:
    """Intersection over union of boxes x, y, width, height."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if min(w, h, a[2], a[3], b[2], b[3]) <= 0:
        return 0.0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def _head_and_label(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    head = torch.randn(HEAD, dtype=torch.float64, generator=generator)
    label = torch.rand(LABEL, dtype=torch.float64, generator=generator)
    label[:, 0] = torch.randint(0, 3, (2, 3, 4), generator=generator)
    label[:, 1:3] *= 30
    label[:, 3:5] = label[:, 3:5] * 30 + 5
    return head, label


def _box(values: list[float], w: int, h: int) -> list[float]:
    """The predicted box x, y, width, height at place (w, h)."""
    x, y = (min(max(v, -0.5), 0.5) for v in values[:2])
    tw, th = (min(max(v, -math.log(2)), math.log(2)) for v in values[2:])
    width, height = 20 * math.exp(tw), 30 * math.exp(th)
    return [x * 20 + (w + 0.5) * 8 - width / 2, y * 30 + (h + 0.5) * 8 - height / 2, width, height]


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_detection_loss_adds_up_places_and_coordinates(smooth: bool, weighted: bool) -> None:
    fields = f"{FIELDS} lambda: 0.5 sample_mode: 'all' bg_threshold: 0.6 bb_smooth: {str(smooth).lower()}"
    text = f'type: "DetectionLoss" detection_loss_param {{ {fields} iou_weighted: {str(weighted).lower()} }}'
    head, label = _head_and_label(1)
    loss = build(text, HEAD, LABEL)(head, label)
    classes, coordinates, places, boxes = 0.0, 0.0, 0, 0
    for n in range(2):
        for h in range(3):
            for w in range(4):
                values, target = head[n, :, h, w].tolist(), label[n, :, h, w].tolist()
                c = int(target[0])
                if c == 0 and target[5] >= 0.6:
                    continue
                places += 1
                total = sum(math.exp(v) for v in values[:3])
                classes -= math.log(math.exp(values[c]) / total) * (target[5] if weighted and c else 1)
                if c == 0:
                    continue
                boxes += 1
                wanted = [(target[1] - (w + 0.5) * 8) / 20, (target[2] - (h + 0.5) * 8) / 30]
                wanted += [math.log(target[3] / 20), math.log(target[4] / 30)]
                bounds = [0.5, 0.5, math.log(2), math.log(2)]
                for v, t, bound in zip(values[3:], wanted, bounds, strict=True):
                    d = abs(min(max(v, -bound), bound) - t)
                    coordinates += 0.5 * d * d if not smooth or d < 1 else d - 0.5
    box_loss = 0.5 * coordinates / (4 * boxes)
    assert loss.flatten().tolist() == pytest.approx([classes / places + box_loss, box_loss])


def test_hard_background_is_what_looks_most_like_foreground() -> None:
    head, label = torch.zeros(1, 6, 1, 8, dtype=torch.float64), torch.zeros(1, 6, 1, 8, dtype=torch.float64)
    head[0, 1, 0] = torch.arange(8)
    label[0, 5, 0, 7] = 1  # too near to a true box to count as background
    text = "cls_num: 2 field_w: 8 field_h: 8 downsample_rate: 8 sample_mode: 'bootstrap'"
    layer = build(f'type: "DetectionLoss" detection_loss_param {{ {text} }}', (1, 6, 1, 8), (1, 6, 1, 8))
    wanted = sum(math.log(1 + math.exp(score)) for score in (3, 4, 5, 6)) / 4
    assert layer(head, label).flatten()[0].item() == pytest.approx(wanted)


@pytest.mark.parametrize("mode", ["random", "mixture"])
def test_random_background_is_eligible(mode: str) -> None:
    head, label = _head_and_label(3)
    text = f'type: "DetectionLoss" detection_loss_param {{ {FIELDS} sample_mode: "{mode}" pos_neg_weighted: true }}'
    loss = build(text, HEAD, LABEL)(head.requires_grad_(), label)
    loss.sum().backward()
    assert head.grad is not None
    forbidden = (label[:, 0] == 0) & (label[:, 5] >= 0.5)
    assert not head.grad.permute(0, 2, 3, 1)[forbidden].any()
    assert head.grad.permute(0, 2, 3, 1)[label[:, 0] > 0].any(1).all()


def test_detection_accuracy_counts_classes_and_overlaps() -> None:
    head, label = _head_and_label(2)
    text = f'type: "DetectionAccuracy" detection_accuracy_param {{ {FIELDS} bg_threshold: 0.6 }}'
    accuracy, overlap = build(text, HEAD, LABEL, tops=2)(head, label)
    right: list[list[bool]] = [[], []]
    shares = []
    for n in range(2):
        for h in range(3):
            for w in range(4):
                values, target = head[n, :, h, w].tolist(), label[n, :, h, w].tolist()
                c = int(target[0])
                if c or target[5] < 0.6:
                    right[0].append(values[:3].index(max(values[:3])) == c)
                if c:
                    right[1].append(right[0][-1])
                    x, y, width, height = target[1:5]
                    shares.append(_shared(_box(values[3:], w, h), [x - width / 2, y - height / 2, width, height]))
    assert accuracy.flatten().tolist() == pytest.approx([sum(each) / len(each) for each in right])
    assert overlap.item() == pytest.approx(sum(shares) / len(shares))


def test_boxes_of_all_heads_survive_by_score() -> None:
    head = _head_and_label(4)[0] * 3
    fields = "fg_thr: -1 iou_thr: 0.3 field_w: 20 field_h: 30 downsample_rate: 8 min_size: 5 max_post_nms_num: 4"
    boxes, scored = build(f'type: "BoxOutput" box_output_param {{ {fields} }}', HEAD, tops=2)(head)
    wanted = []
    for n in range(2):
        found = []
        for h in range(3):
            for w in range(4):
                values = head[n, :, h, w].tolist()
                x, y, width, height = _box(values[3:], w, h)
                x, y = max(x, 0), max(y, 0)
                width, height = min(width, 32 - x), min(height, 24 - y)
                score = max(values[1:3]) - values[0]
                if score >= -1 and width >= 5 and height >= 5:
                    found.append((score, [x, y, width, height]))
        kept: list[tuple[float, list[float]]] = []
        for score, box in sorted(found, reverse=True):
            if len(kept) < 4 and all(_shared(box, other) <= 0.3 for _, other in kept):
                kept.append((score, box))
        wanted += [[n, x, y, x + width, y + height, score] for score, (x, y, width, height) in kept]
    assert boxes.shape == (len(wanted), 5, 1, 1)
    np.testing.assert_allclose(scored.flatten(1), wanted, rtol=1e-6)
    np.testing.assert_allclose(boxes.flatten(1), [row[:5] for row in wanted], rtol=1e-6)


def test_a_head_without_boxes_gives_caffes_stand_in() -> None:
    fields = "fg_thr: 99 field_w: 20 field_h: 30 downsample_rate: 8"
    boxes, scored = build(f'type: "BoxOutput" box_output_param {{ {fields} }}', HEAD, tops=2)(torch.zeros(HEAD))
    assert boxes.flatten().tolist() == [0, 1, 1, 10, 10]
    assert scored.flatten().tolist() == [0] * 6


def test_bbox_accuracy_compares_before_and_after() -> None:
    offsets = torch.zeros(3, 8, dtype=torch.float64)
    offsets[0, 4:] = torch.tensor([0.5, 0, 0, math.log(2)])
    rois = torch.tensor([[0.0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 5, 5, 9, 9]], dtype=torch.float64)
    matches = torch.tensor([[1.0, 5, -5, 14, 14, 0.3], [1, 0, 0, 9, 9, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.float64)
    after, before = build('type: "BboxAccuracy"', (3, 8), (3, 5), (3, 6), tops=2)(offsets, rois, matches)
    assert after.item() == pytest.approx(1)
    assert before.item() == pytest.approx(_shared([0, 0, 10, 10], [5, -5, 10, 20]))


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


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(2, 7, 3, 4\) and \(2, 6, 3, 4\)"):
        build('type: "DetectionLoss" detection_loss_param { cls_num: 3 }', HEAD, HEAD)
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': box_output_param has 0 field_w"):
        build('type: "BoxOutput"', HEAD)
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': bbox_reg_param needs four"):
        build('type: "BboxAccuracy" bbox_reg_param { bbox_mean: 0 bbox_std: 1 }', (3, 8), (3, 5), (3, 6))
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': proposal_target_param has no cls_num"):
        build('type: "ProposalTarget"', (3, 5), (1, 7), tops=6)
