"""RegionLoss against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.layers.single import build

CLASSES, NUM, H, W = 3, 2, 3, 4


LENGTH = 5 + CLASSES


SHAPES = ((2, NUM * LENGTH, H, W), (2, 1, 4, 5))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _iou(a: list[float], b: list[float]) -> float:
    sides = []
    for k in (0, 1):
        ends = min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2)
        sides.append(ends - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2))
    if min(sides) < 0:
        return 0.0
    shared = sides[0] * sides[1]
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _bottoms() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    head = torch.randn(SHAPES[0], dtype=torch.float64, generator=generator)
    labels = torch.zeros(SHAPES[1], dtype=torch.float64)
    labels[0, 0, 0] = torch.tensor([1, 0.3, 0.4, 0.5, 0.6])
    labels[0, 0, 1] = torch.tensor([2, 0.8, 0.9, 0.1, 0.2])
    labels[0, 0, 2] = torch.tensor([0, 0.31, 0.41, 0.45, 0.5])  # in the cell of the first
    labels[1, 0, 0] = torch.tensor([0, 0.6, 0.1, 0.3, 0.2])
    return head, labels


def _check(layer: torch.nn.Module, deltas: np.ndarray, slope: np.ndarray | float = 1.0) -> None:
    head, labels = _bottoms()
    loss = layer(head.requires_grad_(), labels)
    assert loss.item() == pytest.approx(float((deltas**2).sum() / 2))
    (3 * loss).backward()
    assert head.grad is not None
    np.testing.assert_allclose(head.grad, 3 * (deltas * slope).reshape(SHAPES[0]) / 2, atol=1e-9)


@pytest.mark.parametrize("rescore", [0, 1])
@pytest.mark.parametrize("bias_match", [0, 1])
def test_version_2_draws_each_true_box_to_its_anchor(rescore: int, bias_match: int) -> None:
    anchors = [0.5, 1.0, 2.0, 1.5] + [1.0] * 6
    fields = f"num_class: {CLASSES} num: {NUM} rescore: {rescore} bias_match: {bias_match} thresh: 0.4 object_scale: 5 "
    fields += "coord_scale: 2 class_scale: 1.5 " + " ".join(f"biases: {bias}" for bias in anchors)
    head, labels = (bottom.numpy() for bottom in _bottoms())
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
                    covered = max(_iou(box(b, n, j, i), row[1:]) for row in truth)
                    deltas[b, n, 4, j, i] = 0 if covered > 0.4 else 0.5 * s * s * (1 - s)
        for label, *row in truth:
            i, j = int(row[0] * W), int(row[1] * H)
            shapes = [
                [0, 0, anchors[2 * n] / W, anchors[2 * n + 1] / H] if bias_match else [0, 0, *box(b, n, j, i)[2:]]
                for n in range(NUM)
            ]
            fits = [_iou(shape, [0, 0, *row[2:]]) for shape in shapes]
            n = fits.index(max(fits))
            scale = 2 if rescore else 2 * (2 - row[2] * row[3])
            v, delta = x[b, n, :, j, i], deltas[b, n, :, j, i]
            for k, t in enumerate((row[0] * W - i, row[1] * H - j)):
                s = _sigmoid(v[k])
                delta[k] = -scale * (t - s) * s * (1 - s)
            for k, extent in enumerate((W, H)):
                delta[2 + k] = -scale * (math.log(row[2 + k] * extent / anchors[2 * n + k]) - v[2 + k])
            s = _sigmoid(v[4])
            delta[4] = -5 * ((_iou(box(b, n, j, i), row) if rescore else 1) - s) * s * (1 - s)
            total = sum(math.exp(value) for value in v[5:])
            for c in range(CLASSES):
                delta[5 + c] = -1.5 * ((c == label) - math.exp(v[5 + c]) / total)
    _check(build(f'type: "RegionLoss" region_loss_param {{ {fields} }}', *SHAPES), deltas)
