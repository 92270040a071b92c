"""Online hard example mining of R-FCN, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build


def test_the_regions_with_the_highest_loss_of_each_image_keep_their_labels_and_weights() -> None:
    shapes = ((5, 5), (5, 1, 1, 1), (5, 1, 1, 1), (5, 8))
    text = 'type: "BoxAnnotatorOHEM" box_annotator_ohem_param { roi_per_img: 2 ignore_label: -1 }'
    layer = build(text, *shapes, tops=2)
    rois = torch.zeros(5, 5)
    rois[:, 0] = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0])
    loss = torch.tensor([0.1, 0.9, 0.5, 0.2, 0.7])
    labels = torch.tensor([1.0, 2, 3, 4, 5])
    weights = torch.arange(40.0).view(5, 8)
    kept, kept_weights = layer(rois, loss.view(shapes[1]), labels.view(shapes[2]), weights)
    assert kept.shape == (5, 1, 1, 1)
    assert kept_weights.shape == (5, 8, 1, 1)
    assert kept.flatten().tolist() == [-1, 2, 3, 4, 5]
    assert not kept_weights[0].any()
    assert torch.equal(kept_weights[1:, :, 0, 0], weights[1:])


def test_softmax_gives_the_loss_of_each_place() -> None:
    text = 'type: "SoftmaxWithLossOHEM" loss_param { ignore_label: 2 normalization: PRE_FIXED pre_fixed_normalizer: 8 }'
    scores = torch.randn(3, 3, dtype=torch.float64)
    label = torch.tensor([1.0, 2, 0]).view(3, 1, 1, 1)
    loss, probability, each = build(text, (3, 3), (3, 1, 1, 1), tops=3)(scores, label)
    rows = [[math.exp(value) / sum(map(math.exp, row)) for value in row] for row in scores.tolist()]
    torch.testing.assert_close(probability, torch.tensor(rows, dtype=torch.float64))
    wanted = [-math.log(rows[0][1]), 0.0, -math.log(rows[2][0])]
    assert each.shape == (3, 1, 1, 1)
    assert each.flatten().tolist() == pytest.approx(wanted)
    assert loss.item() == pytest.approx(sum(wanted) / 8)


@pytest.mark.parametrize(
    ("fields", "divisor"),
    [("", 6), ("normalization: BATCH_SIZE", 2), ("normalization: PRE_FIXED pre_fixed_normalizer: 5", 5)],
)
def test_smooth_l1_adds_up_channels(fields: str, divisor: float) -> None:
    shape = (2, 4, 3, 1)
    layer = build(f'type: "SmoothL1LossOHEM" loss_param {{ {fields} }}', shape, shape, shape, tops=2)
    a, b, w = (torch.randn(shape, dtype=torch.float64) * 2 for _ in range(3))
    loss, each = layer(a, b, w)
    assert each.shape == layer.top_shapes([shape] * 3)[1] == (2, 1, 3, 1)
    total = 0.0
    for n in range(2):
        for h in range(3):
            place = 0.0
            for c in range(4):
                d = (w[n, c, h, 0] * (a[n, c, h, 0] - b[n, c, h, 0])).item()
                place += 0.5 * d * d if abs(d) < 1 else abs(d) - 0.5
            assert each[n, 0, h, 0].item() == pytest.approx(place)
            total += place
    assert loss.item() == pytest.approx(total / divisor)


def test_a_plain_softmax_loss_may_be_divided_by_a_fixed_number() -> None:
    text = 'type: "SoftmaxWithLoss" loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 4 }'
    loss = build(text, (2, 2), (2,))(torch.zeros(2, 2), torch.zeros(2))
    assert loss.item() == pytest.approx(2 * math.log(2) / 4)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*roi_per_img is 0"):
        build('type: "BoxAnnotatorOHEM"', (5, 5), (5, 1), (5, 1), (5, 8), tops=2)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(R, 5\)"):
        text = 'type: "BoxAnnotatorOHEM" box_annotator_ohem_param { roi_per_img: 2 }'
        build(text, (5, 4), (5, 1), (5, 1), (5, 8), tops=2)
