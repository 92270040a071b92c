"""RegionLoss against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.layers.forks.yolo.heads import CLASSES, LENGTH, NUM, SHAPES, H, W, bottoms, check, iou
from tests.layers.single import build


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("rescore", [0, 1])
@pytest.mark.parametrize("bias_match", [0, 1])
def test_version_2_draws_each_true_box_to_its_anchor(rescore: int, bias_match: int) -> None:
    anchors = [0.5, 1.0, 2.0, 1.5] + [1.0] * 6
    fields = f"num_class: {CLASSES} num: {NUM} rescore: {rescore} bias_match: {bias_match} thresh: 0.4 object_scale: 5 "
    fields += "coord_scale: 2 class_scale: 1.5 " + " ".join(f"biases: {bias}" for bias in anchors)
    head, labels = (bottom.numpy() for bottom in bottoms())
    x = head.reshape(2, NUM, LENGTH, H, W)
    deltas = np.zeros_like(x)

    def box(b: int, n: int, j: int, i: int) -> list[float]:
        v = x[b, n, :, j, i]
        place = [(i + _sigmoid(v[0])) / W, (j + _sigmoid(v[1])) / H]
        return [*place, math.exp(v[2]) * anchors[2 * n] / W, math.exp(v[3]) * anchors[2 * n + 1] / H]

    for b in range(2):
        truth = [row for row in labels[b, 0].tolist() if row[1]]
        for n in range(NUM):
            for j in range(H):
                for i in range(W):
                    s = _sigmoid(x[b, n, 4, j, i])
                    covered = max(iou(box(b, n, j, i), row[1:]) for row in truth)
                    deltas[b, n, 4, j, i] = 0 if covered > 0.4 else 0.5 * s * s * (1 - s)
        for label, *row in truth:
            i, j = int(row[0] * W), int(row[1] * H)
            shapes = [
                [0, 0, anchors[2 * n] / W, anchors[2 * n + 1] / H] if bias_match else [0, 0, *box(b, n, j, i)[2:]]
                for n in range(NUM)
            ]
            fits = [iou(shape, [0, 0, *row[2:]]) for shape in shapes]
            n = fits.index(max(fits))
            scale = 2 if rescore else 2 * (2 - row[2] * row[3])
            v, delta = x[b, n, :, j, i], deltas[b, n, :, j, i]
            for k, t in enumerate((row[0] * W - i, row[1] * H - j)):
                s = _sigmoid(v[k])
                delta[k] = -scale * (t - s) * s * (1 - s)
            for k, extent in enumerate((W, H)):
                delta[2 + k] = -scale * (math.log(row[2 + k] * extent / anchors[2 * n + k]) - v[2 + k])
            s = _sigmoid(v[4])
            delta[4] = -5 * ((iou(box(b, n, j, i), row) if rescore else 1) - s) * s * (1 - s)
            total = sum(math.exp(value) for value in v[5:])
            for c in range(CLASSES):
                delta[5 + c] = -1.5 * ((c == label) - math.exp(v[5 + c]) / total)
    check(build(f'type: "RegionLoss" region_loss_param {{ {fields} }}', *SHAPES), deltas)
