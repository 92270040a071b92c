"""BboxAccuracy before and after."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import DataError
from tests.layers.single import build


def _shared(a: list[float], b: list[float]) -> float:
    """Intersection over union of boxes x, y, width, height."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if min(w, h, a[2], a[3], b[2], b[3]) <= 0:
        return 0.0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def test_bbox_accuracy_compares_before_and_after() -> None:
    offsets = torch.zeros(3, 8, dtype=torch.float64)
    offsets[0, 4:] = torch.tensor([0.5, 0, 0, math.log(2)])
    rois = torch.tensor([[0.0, 0, 0, 9, 9], [0, 0, 0, 9, 9], [0, 5, 5, 9, 9]], dtype=torch.float64)
    matches = torch.tensor([[1.0, 5, -5, 14, 14, 0.3], [1, 0, 0, 9, 9, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.float64)
    after, before = build('type: "BboxAccuracy"', (3, 8), (3, 5), (3, 6), tops=2)(offsets, rois, matches)
    assert after.item() == pytest.approx(1)
    assert before.item() == pytest.approx(_shared([0, 0, 10, 10], [5, -5, 10, 20]))


@pytest.mark.parametrize(("label", "is_taken"), [(2, False), (1, True), (0, True), (-1, True)])
def test_a_class_that_the_offsets_have_not_is_told(label: int, is_taken: bool) -> None:
    """There are two, of which 0 and below do not count."""
    layer = build('type: "BboxAccuracy"', (1, 8), (1, 5), (1, 6), tops=2)
    bottoms = torch.zeros(1, 8), torch.tensor([[0.0, 0, 0, 9, 9]]), torch.tensor([[float(label), 0, 0, 9, 9, 0.5]])
    if is_taken:
        assert layer(*bottoms)[0].item() == (1 if label > 0 else -1)
        return
    with pytest.raises(DataError, match=r"holds class 2, wanted 0 to 1$"):
        layer(*bottoms)
