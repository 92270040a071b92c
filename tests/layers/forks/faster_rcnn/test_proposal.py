"""Proposal of Faster R-CNN against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.forks.faster_rcnn.proposal import anchors
from tests.layers.single import build

FIELDS = "feat_stride: 16 ratio: 0.5 ratio: 1 ratio: 2 scale: 128 scale: 256 scale: 512"
N, A, H, W = 2, 9, 3, 4
SHAPES = ((N, 2 * A, H, W), (N, 4 * A, H, W), (1, 4))


def test_anchors_are_those_of_faster_rcnn() -> None:
    # as generate_anchors.py of py-faster-rcnn prints them for scales of 8, 16 and 32, but for the rounding of ratios
    found = anchors(16, [1.0], [8, 16, 32])
    assert found.tolist() == [[-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263]]


def _overlap(a: list[float], b: list[float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    sizes = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return w * h / (sum(sizes) - w * h)


def test_regions_are_the_best_anchors_moved_cut_and_thinned_out() -> None:
    layer = build(f'type: "Proposal" proposal_param {{ {FIELDS} pre_nms_topn: 60 post_nms_topn: 12 }}', *SHAPES, tops=2)
    generator = np.random.default_rng(1)
    scores, offsets = generator.random(SHAPES[0]), generator.normal(size=SHAPES[1]) * 0.3
    height, width = 200.0, 300.0
    wanted = []
    base = anchors(16, [0.5, 1, 2], [8, 16, 32]).tolist()
    for n in range(N):
        found = []
        for i in range(H):
            for j in range(W):
                for k, (x1, y1, x2, y2) in enumerate(base):
                    dx, dy, dw, dh = offsets[n, 4 * k : 4 * k + 4, i, j]
                    w, h = x2 - x1 + 1, y2 - y1 + 1
                    x, y = x1 + 16 * j + w / 2 + dx * w, y1 + 16 * i + h / 2 + dy * h
                    w, h = math.exp(dw) * w / 2, math.exp(dh) * h / 2
                    corners = [x - w, y - h, x + w, y + h]
                    box = [min(max(c, 0), e - 1) for c, e in zip(corners, (width, height) * 2, strict=True)]
                    large = box[2] - box[0] + 1 >= 16 * 3 and box[3] - box[1] + 1 >= 16 * 2
                    found.append((scores[n, A + k, i, j] if large else 0.0, box))
        kept: list[list[float]] = []
        for score, box in sorted(found, key=lambda each: -each[0])[:60]:
            if len(kept) < 12 and all(_overlap(box, other) <= 0.7 for other in kept):
                kept.append(box)
                wanted.append([n, *box, score])
    rois, own = layer(*(torch.from_numpy(v) for v in (scores, offsets)), torch.tensor([[height, width, 2, 3]]))
    np.testing.assert_allclose(rois, [row[:5] for row in wanted], rtol=1e-6)
    np.testing.assert_allclose(own, [row[5] for row in wanted], rtol=1e-6)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': proposal_param needs feat_stride"):
        build('type: "Proposal"', *SHAPES)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(N, 18, H, W\)"):
        build(f'type: "Proposal" proposal_param {{ {FIELDS} }}', SHAPES[1], SHAPES[1], SHAPES[2])
