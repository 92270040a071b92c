"""PriorBoxClustered against the fork's loop over places and boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

WIDTHS, HEIGHTS = (9.4, 25.1, 143.0), (15.0, 39.6, 227.5)
SIZES = " ".join(f"width: {w} height: {h}" for w, h in zip(WIDTHS, HEIGHTS, strict=True))
LAYER, IMAGE = (1, 7, 2, 3), (1, 3, 40, 50)
VARIANCES = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"


def loop(step: tuple[float, float], image: tuple[int, int], clip: bool) -> list[float]:
    """The boxes, place by place, in float32 as the fork counts."""
    boxes: list[float] = []
    for row in range(LAYER[2]):
        for column in range(LAYER[3]):
            x = float(np.float32(column + 0.5) * np.float32(step[1]))
            y = float(np.float32(row + 0.5) * np.float32(step[0]))
            for width, height in zip(map(np.float32, WIDTHS), map(np.float32, HEIGHTS), strict=True):
                boxes += [
                    (x - float(width) / 2) / image[1], (y - float(height) / 2) / image[0],
                    (x + float(width) / 2) / image[1], (y + float(height) / 2) / image[0],
                ]  # fmt: skip
    return [min(max(side, 0.0), 1.0) for side in boxes] if clip else boxes


@pytest.mark.parametrize(
    ("fields", "step", "image", "clip"),
    [
        ("step: 16", (16, 16), (40, 50), False),
        ("", (20, 50 / 3), (40, 50), False),
        ("step_h: 8 step_w: 5 clip: true", (8, 5), (40, 50), True),
        ("img_size: 300", (150, 100), (300, 300), False),
        ("img_h: 30 img_w: 60 step: 4", (4, 4), (30, 60), False),
    ],
)
def test_the_boxes_are_the_forks(fields: str, step: tuple[float, float], image: tuple[int, int], clip: bool) -> None:
    layer = build(f'type: "PriorBoxClustered" prior_box_param {{ {SIZES} {fields} {VARIANCES} }}', LAYER, IMAGE)
    boxes, variances = layer(torch.zeros(LAYER), torch.zeros(IMAGE))[0]
    assert layer.top_shapes([LAYER, IMAGE]) == [(1, 2, 2 * 3 * 3 * 4)]
    assert boxes.tolist() == pytest.approx(loop(step, image, clip), rel=1e-6, abs=1e-7)
    assert variances.tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2] * 18)


def test_one_variance_is_of_all_sides_and_a_tenth_where_none_is_given() -> None:
    for fields, wanted in (("variance: 0.3", 0.3), ("", 0.1)):
        layer = build(f'type: "PriorBoxClustered" prior_box_param {{ {SIZES} {fields} }}', LAYER, IMAGE)
        assert layer(torch.zeros(LAYER), torch.zeros(IMAGE))[0, 1].tolist() == pytest.approx([wanted] * 72)


@pytest.mark.parametrize("fields", ["", "width: 3", "width: 3 height: 0", "width: 1 height: 2 height: 3"])
def test_widths_without_their_heights_are_told(fields: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=r"widths and .* heights, the least .*; give as many of both"):
        build(f'type: "PriorBoxClustered" prior_box_param {{ {fields} }}', LAYER, IMAGE)
