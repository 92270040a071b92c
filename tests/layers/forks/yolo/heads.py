"""Heads, labels and overlaps for the losses of YOLO, and the comparison with their deltas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import UnsupportedLayerError

CLASSES, NUM, H, W = 3, 2, 3, 4
LENGTH = 5 + CLASSES
SHAPES = ((2, NUM * LENGTH, H, W), (2, 1, 4, 5))


def iou(a: list[float], b: list[float]) -> float:
    sides = []
    for k in (0, 1):
        ends = min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2)
        sides.append(ends - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2))
    if min(sides) < 0:
        return 0.0
    shared = sides[0] * sides[1]
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def bottoms() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    head = torch.randn(SHAPES[0], dtype=torch.float64, generator=generator)
    labels = torch.zeros(SHAPES[1], dtype=torch.float64)
    labels[0, 0, 0] = torch.tensor([1, 0.3, 0.4, 0.5, 0.6])
    labels[0, 0, 1] = torch.tensor([2, 0.8, 0.9, 0.1, 0.2])
    labels[0, 0, 2] = torch.tensor([0, 0.31, 0.41, 0.45, 0.5])  # in the cell of the first
    labels[1, 0, 0] = torch.tensor([0, 0.6, 0.1, 0.3, 0.2])
    return head, labels


def check(layer: torch.nn.Module, deltas: np.ndarray, slope: np.ndarray | float = 1.0) -> None:
    head, labels = bottoms()
    loss = layer(head.requires_grad_(), labels)
    assert loss.item() == pytest.approx(float((deltas**2).sum() / 2))
    (3 * loss).backward()
    assert head.grad is not None
    np.testing.assert_allclose(head.grad, 3 * (deltas * slope).reshape(SHAPES[0]) / 2, atol=1e-9)
    (gradient,) = torch.autograd.grad(layer(head, labels), head, create_graph=True)
    with pytest.raises(UnsupportedLayerError, match=r"layer 'lay': type \w+ matches boxes .* no second derivatives"):
        gradient.sum().backward()
