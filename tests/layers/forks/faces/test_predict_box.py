"""PredictBox against the fork's loops over places, in each of its forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from tests.layers.single import build

N, H, W = 2, 3, 4
STRIDE, FIELD, LEAST = 3, 24, 0.4
FIELDS = f"predict_box_param {{ stride: {STRIDE} receptive_field: {FIELD} positive_thresh: {LEAST} }}"


def loop(scores: Tensor, offsets: Tensor | None, third: Tensor | None, by_exp: bool = True) -> Tensor:
    """Top 0, place by place, as PredictBoxLayer::Forward_cpu counts it."""
    top = torch.zeros(scores.shape[0], 5, H, W, dtype=scores.dtype)
    maxima = third if third is not None and third.shape[1] == 2 else None
    origins = third if third is not None and third.shape[1] == 3 else None
    for n in range(scores.shape[0]):
        for x in range(W):
            for y in range(H):
                score, size = float(scores[n, 1, y, x]), float(FIELD)
                left = top_edge = 0.0
                if score <= LEAST or (maxima is not None and score <= float(maxima[n, 1, y, x]) - 1e-5):
                    continue
                if origins is not None:
                    left, top_edge, size = map(float, origins[n, :, y, x])
                    if size == 0:
                        continue
                box = [(x * STRIDE - left) / 12 * size, (y * STRIDE - top_edge) / 12 * size, size, size]
                if offsets is not None:
                    o = offsets[n, :, y, x].tolist()
                    if by_exp:
                        box = [box[0] + o[0] * size, box[1] + o[1] * size, size * math.exp(o[2]), size * math.exp(o[3])]
                    else:
                        box = [
                            box[0] + o[1] * size, box[1] + o[0] * size, size + (o[3] - o[1]) * size,
                            size + (o[2] - o[0]) * size,
                        ]  # fmt: skip
                top[n, :, y, x] = torch.tensor([*box, score], dtype=scores.dtype)
    return top


def drawn(number: int = N) -> dict[str, Tensor]:
    torch.manual_seed(7)
    scores = torch.rand(number, 2, H, W, dtype=torch.float64)
    origins = torch.randint(0, 9, (number, 3, H, W)).double()
    origins[:, 2, 1] = 0
    return {
        "scores": scores,
        "offsets": torch.randn(number, 4, H, W, dtype=torch.float64) / 4,
        "maxima": torch.where(torch.rand_like(scores) < 0.5, scores, scores + 0.1),
        "origins": origins,
    }


@pytest.mark.parametrize("names", [("scores",), ("scores", "offsets"), ("scores", "offsets", "maxima"),
                                   ("scores", "offsets", "origins")])  # fmt: skip
@pytest.mark.parametrize("by_exp", [True, False])
def test_boxes_are_the_forks(names: tuple[str, ...], by_exp: bool) -> None:
    given = [drawn()[name] for name in names]
    text = f'type: "PredictBox" {FIELDS[:-1]} bbreg_exp: {str(by_exp).lower()} }}'
    found = build(text, *(tuple(each.shape) for each in given))(*given)
    assert torch.allclose(found, loop(*(*given, None, None)[:3], by_exp), atol=1e-12)
    assert 0 < int((found[:, 4] > 0).sum()) < N * H * W


def test_offsets_first_are_the_form_of_2016() -> None:
    scores, offsets = drawn()["scores"], drawn()["offsets"]
    found = build(f'type: "PredictBox" {FIELDS}', (N, 4, H, W), (N, 2, H, W))(offsets, scores)
    for n in range(N):
        for x in range(W):
            for y in range(H):
                o, score = offsets[n, :, y, x].tolist(), float(scores[n, 1, y, x])
                box = [
                    x * STRIDE + o[0] * FIELD, y * STRIDE + o[1] * FIELD, FIELD * math.exp(o[2]), FIELD * math.exp(o[3])
                ]  # fmt: skip
                wanted = [*box, score] if score > LEAST else [0.0] * 5
                assert found[n, :, y, x].tolist() == pytest.approx(wanted)


def test_the_second_top_lists_the_boxes_of_one_item_column_by_column() -> None:
    scores = drawn(1)["scores"]
    planes, rows = build(f'type: "PredictBox" {FIELDS}', (1, 2, H, W), tops=2)(scores)
    wanted = [
        planes[0, :, y, x].tolist() for x in range(W) for y in range(H) if float(scores[0, 1, y, x]) > LEAST
    ]  # fmt: skip
    assert rows[0].tolist() == wanted


@pytest.mark.parametrize("number", [1, 2])
def test_the_second_top_is_zeros_without_a_box_and_for_several_items(number: int) -> None:
    scores = drawn(number)["scores"] * (0.1 if number == 1 else 1)
    layer = build(f'type: "PredictBox" {FIELDS}', (number, 2, H, W), tops=2)
    assert layer(scores)[1].tolist() == [[[0.0] * 5]] * number
    assert layer.top_shapes([(number, 2, H, W)]) == [(number, 5, H, W), (number, 1, 5)]


@pytest.mark.parametrize("shapes", [((1, 3, 2, 2),), ((1, 2, 2, 2), (1, 4, 2, 3)), ((1, 2, 2, 2), (1, 2, 2, 2))])
def test_bottoms_of_another_form_are_told(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ShapeError, match=r"wanted scores .* offsets .* and maxima"):
        build(f'type: "PredictBox" {FIELDS}', *shapes)
