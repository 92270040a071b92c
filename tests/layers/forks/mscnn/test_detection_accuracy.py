"""DetectionAccuracy against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

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
