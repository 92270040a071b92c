"""Heads, labels and boxes for the layers of MS-CNN."""

from __future__ import annotations

import math

import torch

HEAD, LABEL = (2, 7, 3, 4), (2, 6, 3, 4)
FIELDS = "cls_num: 3 field_w: 20 field_h: 30 downsample_rate: 8 field_whr: 2 field_xyr: 2"


def shared(a: list[float], b: list[float]) -> float:
    """Intersection over union of boxes x, y, width, height."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if min(w, h, a[2], a[3], b[2], b[3]) <= 0:
        return 0.0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def head_and_label(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    head = torch.randn(HEAD, dtype=torch.float64, generator=generator)
    label = torch.rand(LABEL, dtype=torch.float64, generator=generator)
    label[:, 0] = torch.randint(0, 3, (2, 3, 4), generator=generator)
    label[:, 1:3] *= 30
    label[:, 3:5] = label[:, 3:5] * 30 + 5
    return head, label


def predicted_box(values: list[float], w: int, h: int) -> list[float]:
    """The predicted box x, y, width, height at place (w, h)."""
    x, y = (min(max(v, -0.5), 0.5) for v in values[:2])
    tw, th = (min(max(v, -math.log(2)), math.log(2)) for v in values[2:])
    width, height = 20 * math.exp(tw), 30 * math.exp(th)
    return [x * 20 + (w + 0.5) * 8 - width / 2, y * 30 + (h + 0.5) * 8 - height / 2, width, height]
