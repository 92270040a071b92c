"""ROIAlign of MS-CNN against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

FEATURES = (2, 3, 6, 5)
ROIS = torch.tensor([[0.0, 2, 3, 15, 18], [1, -9, 0, 30, 8], [0, 8, 8, 4, 4], [1, 5, 5, 6, 6]])


def _sample(plane: torch.Tensor, y: float, x: float) -> float:
    height, width = plane.shape
    if not (-0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5):
        return 0.0
    rows = [min(max(math.floor(y) + step, 0), height - 1) for step in (0, 1)]
    columns = [min(max(math.floor(x) + step, 0), width - 1) for step in (0, 1)]
    down, across = min(max(y, 0), height - 1) - rows[0], min(max(x, 0), width - 1) - columns[0]
    upper = plane[rows[0], columns[0]] * (1 - across) + plane[rows[0], columns[1]] * across
    lower = plane[rows[1], columns[0]] * (1 - across) + plane[rows[1], columns[1]] * across
    return float(upper * (1 - down) + lower * down)


@pytest.mark.parametrize("pad", [0, 0.25])
def test_every_corner_of_a_bin_is_a_bilinear_sample(pad: float) -> None:
    text = f"pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 pad_ratio: {pad}"
    layer = build(f'type: "ROIAlign" roi_pooling_param {{ {text} }}', FEATURES, (4, 5)).double()
    features = torch.randn(FEATURES, dtype=torch.float64)
    top = layer(features, ROIS)
    assert top.shape == layer.top_shapes([FEATURES, (4, 5)])[0] == (4, 3, 3, 4)
    for r, (item, *corners) in enumerate(ROIS.tolist()):
        grow = [(corners[axis + 2] - corners[axis] + 1) * pad for axis in (0, 1)]
        start = [(corners[axis] - grow[axis]) * 0.25 - 0.5 for axis in (0, 1)]
        size = [(corners[axis + 2] + grow[axis]) * 0.25 - 0.5 - start[axis] for axis in (0, 1)]
        for c in range(3):
            for i in range(3):
                for j in range(4):
                    y, x = start[1] + i * size[1] / 2, start[0] + j * size[0] / 3
                    wanted = _sample(features[int(item), c], y, x) if min(size) > 0 else 0.0
                    assert top[r, c, i, j].item() == pytest.approx(wanted, abs=1e-6)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': roi_pooling_param.pooled_h 0"):
        build('type: "ROIAlign"', FEATURES, (4, 5))
