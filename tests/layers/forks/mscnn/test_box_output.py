"""BoxOutput against plain loops."""

from __future__ import annotations

import math

import numpy as np
import torch

from tests.layers.single import build

HEAD, LABEL = (2, 7, 3, 4), (2, 6, 3, 4)


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


def test_boxes_of_all_heads_survive_by_score() -> None:
    head = _head_and_label(4)[0] * 3
    fields = "fg_thr: -1 iou_thr: 0.3 field_w: 20 field_h: 30 downsample_rate: 8 min_size: 5 max_post_nms_num: 4"
    boxes, scored = build(f'type: "BoxOutput" box_output_param {{ {fields} }}', HEAD, tops=2)(head)
    wanted = []
    for n in range(2):
        found = []
        for h in range(3):
            for w in range(4):
                values = head[n, :, h, w].tolist()
                x, y, width, height = _box(values[3:], w, h)
                x, y = max(x, 0), max(y, 0)
                width, height = min(width, 32 - x), min(height, 24 - y)
                score = max(values[1:3]) - values[0]
                if score >= -1 and width >= 5 and height >= 5:
                    found.append((score, [x, y, width, height]))
        kept: list[tuple[float, list[float]]] = []
        for score, box in sorted(found, reverse=True):
            if len(kept) < 4 and all(_shared(box, other) <= 0.3 for _, other in kept):
                kept.append((score, box))
        wanted += [[n, x, y, x + width, y + height, score] for score, (x, y, width, height) in kept]
    assert boxes.shape == (len(wanted), 5, 1, 1)
    np.testing.assert_allclose(scored.flatten(1), wanted, rtol=1e-6)
    np.testing.assert_allclose(boxes.flatten(1), [row[:5] for row in wanted], rtol=1e-6)


def test_a_head_without_boxes_gives_caffes_stand_in() -> None:
    fields = "fg_thr: 99 field_w: 20 field_h: 30 downsample_rate: 8"
    boxes, scored = build(f'type: "BoxOutput" box_output_param {{ {fields} }}', HEAD, tops=2)(torch.zeros(HEAD))
    assert boxes.flatten().tolist() == [0, 1, 1, 10, 10]
    assert scored.flatten().tolist() == [0] * 6
