"""BoxOutput against plain loops."""

from __future__ import annotations

import numpy as np
import torch

from tests.layers.forks.mscnn.heads import HEAD, head_and_label, predicted_box, shared
from tests.layers.single import build


def test_boxes_of_all_heads_survive_by_score() -> None:
    head = head_and_label(4)[0] * 3
    fields = "fg_thr: -1 iou_thr: 0.3 field_w: 20 field_h: 30 downsample_rate: 8 min_size: 5 max_post_nms_num: 4"
    boxes, scored = build(f'type: "BoxOutput" box_output_param {{ {fields} }}', HEAD, tops=2)(head)
    wanted = []
    for n in range(2):
        found = []
        for h in range(3):
            for w in range(4):
                values = head[n, :, h, w].tolist()
                x, y, width, height = predicted_box(values[3:], w, h)
                x, y = max(x, 0), max(y, 0)
                width, height = min(width, 32 - x), min(height, 24 - y)
                score = max(values[1:3]) - values[0]
                if score >= -1 and width >= 5 and height >= 5:
                    found.append((score, [x, y, width, height]))
        kept: list[tuple[float, list[float]]] = []
        for score, box in sorted(found, reverse=True):
            if len(kept) < 4 and all(shared(box, other) <= 0.3 for _, other in kept):
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
