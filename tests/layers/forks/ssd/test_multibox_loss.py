"""MultiBoxLoss of SSD against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build
from tests.reference.matching import multibox_loss

PRIORS, CLASSES, ITEMS = 30, 4, 3
SHAPES = ((ITEMS, PRIORS * 4), (ITEMS, PRIORS * CLASSES), (1, 2, PRIORS * 4), (1, 1, 5, 8))


def _bottoms(seed: int) -> list[np.ndarray]:
    """Priors spread over the image, three true boxes in item 0, two in item 2, none in item 1."""
    random = np.random.default_rng(seed)
    corner = random.random((PRIORS, 2)) * 0.6
    prior = np.concatenate((corner, corner + 0.2 + random.random((PRIORS, 2)) * 0.3), 1)
    variance = 0.1 + random.random((PRIORS, 4)) * 0.2
    rows = []
    for item, label in ((0, 1), (0, 3), (0, 1), (2, 2), (2, 3)):
        start = random.random(2) * 0.5
        rows.append([item, label, 0, *start, *(start + 0.2 + random.random(2) * 0.25), 0])
    location = random.normal(size=(ITEMS, PRIORS, 4))
    confidence = random.normal(size=(ITEMS, PRIORS, CLASSES))
    return [location, confidence, np.stack((prior, variance))[None], np.array(rows)]


def _loss(fields: str, bottoms: list[np.ndarray], loss_param: str = "") -> torch.Tensor:
    text = f'type: "MultiBoxLoss" multibox_loss_param {{ num_classes: {CLASSES} {fields} }} {loss_param}'
    layer = build(text, *SHAPES).double()
    given = [torch.from_numpy(value).double().reshape(shape) for value, shape in zip(bottoms, SHAPES, strict=True)]
    loss: torch.Tensor = layer(*given)
    return loss


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("match_type", "ratio"), [("PER_PREDICTION", 3.0), ("BIPARTITE", 1.0)])
def test_the_loss_is_that_of_matches_and_of_the_hardest_negatives(match_type: str, ratio: float, seed: int) -> None:
    location, confidence, priors, rows = bottoms = _bottoms(seed)
    fields = f"code_type: CENTER_SIZE match_type: {match_type} neg_pos_ratio: {ratio}"
    wanted = multibox_loss(
        location.tolist(), confidence.tolist(), priors[0, 0].tolist(), priors[0, 1].tolist(), rows.tolist(), ratio,
        match_type == "PER_PREDICTION",
    )  # fmt: skip
    assert _loss(fields, bottoms).item() == pytest.approx(wanted, rel=1e-6)


def test_rows_behind_item_minus_one_do_not_count() -> None:
    bottoms = _bottoms(1)
    bottoms[3][4:, 0] = -1
    fewer = [*bottoms[:3], np.concatenate((bottoms[3][:4], bottoms[3][4:].copy()))]
    fewer[3][4, 3:7] = (0.1, 0.1, 0.9, 0.9)
    assert _loss("code_type: CENTER_SIZE", bottoms) == _loss("code_type: CENTER_SIZE", fewer)


def test_difficult_boxes_are_left_out_where_asked() -> None:
    easy, hard = _bottoms(2), _bottoms(2)
    hard[3][1:3, 7] = 1
    easy[3] = np.concatenate((easy[3][[0, 3, 4]], np.full((2, 8), -1.0)))
    assert _loss("use_difficult_gt: false", hard) == _loss("", easy)


def test_other_normalizers_divide_by_other_numbers() -> None:
    bottoms = _bottoms(0)
    whole = _loss("", bottoms, "loss_param { normalization: NONE }").item()
    assert _loss("", bottoms, "loss_param { normalization: BATCH_SIZE }").item() == pytest.approx(whole / ITEMS)
    assert _loss("", bottoms, "loss_param { normalization: FULL }").item() == pytest.approx(whole / ITEMS / PRIORS)


def test_without_mining_every_prior_counts_as_background_even_in_items_without_boxes() -> None:
    location, confidence, priors, rows = _bottoms(3)
    rows[:] = -1
    loss = _loss("mining_type: NONE", [location, confidence, priors, rows])
    scores = torch.from_numpy(confidence)
    wanted = (torch.logsumexp(scores, 2) - scores[..., 0]).sum()
    torch.testing.assert_close(loss, wanted)


@pytest.mark.parametrize(
    "fields",
    [
        "mining_type: HARD_EXAMPLE sample_size: 7", "mining_type: NONE share_location: true",
        "conf_loss_type: LOGISTIC loc_loss_type: L2 code_type: CORNER_SIZE", "use_prior_for_matching: false",
        "nms_param { nms_threshold: 0.4 top_k: 20 } use_prior_for_nms: true", "bp_inside: true",
        "encode_variance_in_target: true", "ignore_cross_boundary_bbox: true",
    ],
)  # fmt: skip
def test_every_choice_has_the_gradient_of_its_loss(fields: str) -> None:
    bottoms = [torch.from_numpy(value).double().reshape(s) for value, s in zip(_bottoms(5), SHAPES, strict=True)]
    layer = build(f'type: "MultiBoxLoss" multibox_loss_param {{ num_classes: {CLASSES} {fields} }}', *SHAPES).double()
    scores = [bottom.requires_grad_() for bottom in bottoms[:2]]
    assert torch.autograd.gradcheck(lambda *given: layer(*given, *bottoms[2:]), scores, fast_mode=True)


def test_locations_of_their_own_for_each_class() -> None:
    location, confidence, priors, rows = _bottoms(6)
    wanted = _loss("mining_type: NONE code_type: CENTER_SIZE", [location, confidence, priors, rows])
    shapes = (((ITEMS, PRIORS * CLASSES * 4)), *SHAPES[1:])
    fields = f"num_classes: {CLASSES} share_location: false mining_type: NONE code_type: CENTER_SIZE"
    layer = build(f'type: "MultiBoxLoss" multibox_loss_param {{ {fields} }}', *shapes).double()
    repeated = np.repeat(location[:, :, None], CLASSES, 2)
    values = (repeated, confidence, priors, rows)
    given = [torch.from_numpy(v).double().reshape(s) for v, s in zip(values, shapes, strict=True)]
    torch.testing.assert_close(layer(*given), wanted)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': multibox_loss_param needs num_classes"):
        build('type: "MultiBoxLoss"', *SHAPES)
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*needs share_location: true"):
        build('type: "MultiBoxLoss" multibox_loss_param { num_classes: 4 share_location: false }', *SHAPES)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(N, 120\), \(N, 60\)"):
        build('type: "MultiBoxLoss" multibox_loss_param { num_classes: 2 }', *SHAPES)
    bottoms = _bottoms(0)
    bottoms[3][0, 1] = 4
    with pytest.raises(DataError, match="layer 'lay': labels 'b3' hold class 4, wanted 0 to 3"):
        _loss("", bottoms)
