"""FlowWarp against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from tests.layers.single import build

SHAPE = (2, 3, 6, 7)


@pytest.mark.parametrize(("fill", "value"), [("ZERO", 0.0), ("NOT_A_NUMBER", math.nan)])
def test_warped_images_are_sampled_where_the_flow_points(fill: str, value: float) -> None:
    flow = (2, 2, 6, 7)
    layer = build(f'type: "FlowWarp" flow_warp_param {{ fill_value: {fill} }}', SHAPE, flow)
    image, moves = torch.randn(SHAPE, dtype=torch.float64), torch.randn(flow, dtype=torch.float64) * 2
    top = layer(image, moves)
    for n in range(2):
        for i in range(6):
            for j in range(7):
                x, y = j + moves[n, 0, i, j].item(), i + moves[n, 1, i, j].item()
                if not (0 <= x < 7 and 0 <= y < 6):
                    assert top[n, 0, i, j].item() == pytest.approx(value, nan_ok=True)
                    continue
                left, upper = int(x), int(y)
                right, lower = min(left + 1, 6), min(upper + 1, 5)
                p, q = x - left, y - upper
                wanted = (image[n, 0, upper, left] * (1 - p) + image[n, 0, upper, right] * p) * (1 - q)
                wanted += (image[n, 0, lower, left] * (1 - p) + image[n, 0, lower, right] * p) * q
                assert top[n, 0, i, j].item() == pytest.approx(wanted.item())
