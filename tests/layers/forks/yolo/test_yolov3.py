"""Yolov3 against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.layers.forks.yolo.heads import CLASSES, LENGTH, NUM, SHAPES, H, W, bottoms, check, iou
from tests.layers.single import build


@pytest.mark.parametrize("logistic", [False, True])
def test_version_3_draws_true_boxes_to_the_anchors_that_fit(logistic: bool) -> None:
    anchors, mask = [10, 14, 23, 27, 37, 58, 60, 60], [1, 3]
    fields = f"num_class: {CLASSES} num: {NUM} thresh: 0.3 iou_thresh: 0.2 object_scale: 5 coord_scale: 2 "
    fields += f"class_scale: 1.5 label_smooth_eps: 0.1 use_logic_gradient: {str(logistic).lower()} anchors_scale: 32 "
    for name, values in (("biases", anchors), ("mask", mask)):
        fields += " ".join(f"{name}: {value}" for value in values) + " "
    head, labels = (bottom.numpy() for bottom in bottoms())
    x = head.reshape(2, NUM, LENGTH, H, W).copy()
    for index in [0, 1, *range(4, LENGTH)]:
        x[:, :, index] = 1 / (1 + np.exp(-x[:, :, index]))
    deltas, pixels = np.zeros_like(x), (W * 32, H * 32)

    def draw(b: int, n: int, label: int, row: list[float]) -> None:
        i, j = int(row[0] * W), int(row[1] * H)
        v, delta = x[b, n, :, j, i], deltas[b, n, :, j, i]
        aims = [row[0] * W - i, row[1] * H - j]
        aims += [math.log(row[2 + k] * pixels[k] / anchors[2 * mask[n] + k]) for k in (0, 1)]
        for k, aim in enumerate(aims):
            delta[k] = -2 * (2 - row[2] * row[3]) * (aim - v[k])
        delta[4] = -(1 - v[4]) * (5 if logistic else 1)
        for c in [label] if delta[5 + label] else range(CLASSES):
            delta[5 + c] = -1.5 * ((c == label) * 0.9 + 0.05 - v[5 + c])

    for b in range(2):
        truth = [row for row in labels[b, 0].tolist() if row[1]]
        for n in range(NUM):
            for j in range(H):
                for i in range(W):
                    v = x[b, n, :, j, i]
                    size = [math.exp(v[2 + k]) * anchors[2 * mask[n] + k] / pixels[k] for k in (0, 1)]
                    covered = max(iou([(i + v[0]) / W, (j + v[1]) / H, *size], row[1:]) for row in truth)
                    deltas[b, n, 4, j, i] = 0 if covered > 0.3 else v[4]
        for label, *row in truth:
            fits = [
                iou([0, 0, anchors[2 * a] / pixels[0], anchors[2 * a + 1] / pixels[1]], [0, 0, *row[2:]])
                for a in range(4)
            ]
            best = fits.index(max(fits))
            if best in mask:
                best = mask.index(best)
                draw(b, best, int(label), row)
            for a in range(4):
                if a in mask and a != best and fits[a] > 0.2:
                    draw(b, mask.index(a), int(label), row)
    slope = x * (1 - x) if logistic else np.ones_like(x)
    slope[:, :, 2:4] = 1
    check(build(f'type: "Yolov3" yolov3_param {{ {fields} }}', *SHAPES), deltas, slope)
