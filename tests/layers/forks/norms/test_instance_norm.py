"""InstanceNorm against mean and variance of each plane, and the fork's formula for the gradient."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build

SHAPE = (2, 3, 4, 5)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_each_plane_is_normalised_by_itself_in_both_phases(phase: str) -> None:
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(SHAPE, dtype=torch.float64)
    y = build('type: "InstanceNorm"', SHAPE, phase=phase)(x)
    (y * weights).sum().backward()
    assert x.grad is not None
    for n in range(2):
        for c in range(3):
            values, diffs = x[n, c].flatten().tolist(), weights[n, c].flatten().tolist()
            mean = sum(values) / 20
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 20 + 1e-4)
            tops = [(value - mean) / deviation for value in values]
            assert y[n, c].flatten().tolist() == pytest.approx(tops)
            product = sum(top * diff for top, diff in zip(tops, diffs, strict=True)) / 20
            slopes = [
                (diff - sum(diffs) / 20 - product * top) / deviation for top, diff in zip(tops, diffs, strict=True)
            ]
            assert x.grad[n, c].flatten().tolist() == pytest.approx(slopes)


def test_a_plane_of_one_value_becomes_0() -> None:
    assert build('type: "InstanceNorm"', (1, 2, 1, 1))(torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)).tolist() == [
        [[[0.0]], [[0.0]]]
    ]


def test_other_than_four_axes_are_told() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\) is not \(N, C, H, W\)"):
        build('type: "InstanceNorm"', (2, 3))
