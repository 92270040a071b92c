"""DetectionAccuracy against plain loops."""

from __future__ import annotations

import pytest

from tests.layers.forks.mscnn.heads import FIELDS, HEAD, LABEL, head_and_label, predicted_box, shared
from tests.layers.single import build


def test_detection_accuracy_counts_classes_and_overlaps() -> None:
    head, label = head_and_label(2)
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
                    shares.append(
                        shared(predicted_box(values[3:], w, h), [x - width / 2, y - height / 2, width, height])
                    )
    assert accuracy.flatten().tolist() == pytest.approx([sum(each) / len(each) for each in right])
    assert overlap.item() == pytest.approx(sum(shares) / len(shares))
