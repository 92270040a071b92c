"""YOLO's detections against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

CLASSES = 3


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _overlap(a: list[float], b: list[float]) -> float:
    """Of boxes x, y, width, height, x and y of the middle."""
    starts = [max(box[k] - box[k + 2] / 2 for box in (a, b)) for k in (0, 1)]
    sides = [min(box[k] + box[k + 2] / 2 for box in (a, b)) - starts[k] for k in (0, 1)]
    if min(sides) < 0:
        return 0.0
    shared = sides[0] * sides[1]
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _rows(found: list[tuple[float, int, list[float]]], threshold: float) -> list[list[float]]:
    kept: list[tuple[float, int, list[float]]] = []
    for score, label, box in sorted(found, key=lambda each: -each[0]):
        if all(_overlap(other, box) < threshold for _, _, other in kept):
            kept.append((score, label, box))
    return [[0, c + 1, s, x - w / 2, y - h / 2, x + w / 2, y + h / 2] for s, c, (x, y, w, h) in kept]


def test_version_2_takes_the_best_class_of_each_box() -> None:
    anchors = [1.0, 1.5, 2.0, 0.5]
    fields = f"num_classes: {CLASSES} num_box: 2 confidence_threshold: 0.2 nms_threshold: 0.4 "
    fields += " ".join(f"biases: {bias}" for bias in anchors)
    shape = (2, 2 * (5 + CLASSES), 3, 3)
    layer = build(f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {fields} }}', shape)
    head = np.random.default_rng(0).normal(size=shape)
    found = []
    for b in range(2):
        for j in range(3):
            for i in range(3):
                for n in range(2):
                    v = head[b, n * (5 + CLASSES) : (n + 1) * (5 + CLASSES), j, i].tolist()
                    exps = [math.exp(score) for score in v[5:]]
                    score = _sigmoid(v[4]) * max(exps) / sum(exps)
                    box = [(i + _sigmoid(v[0])) / 3, (j + _sigmoid(v[1])) / 3]
                    box += [math.exp(v[2]) * anchors[2 * n] / 3, math.exp(v[3]) * anchors[2 * n + 1] / 3]
                    if score >= 0.2:
                        found.append((score, exps.index(max(exps)), box))
    wanted = _rows(found, 0.4)
    top = layer(torch.from_numpy(head))
    assert top.shape == (1, 1, len(wanted), 7)
    np.testing.assert_allclose(top[0, 0], wanted, rtol=1e-6)


@pytest.mark.parametrize("gaussian", [False, True])
def test_version_3_gives_a_row_for_each_class_of_each_head(gaussian: bool) -> None:
    anchors, mask, scales = [10, 14, 23, 27, 37, 58, 81, 82], [2, 3, 0, 1], [32, 16]
    fields = f"num_classes: {CLASSES} num_box: 2 confidence_threshold: 0.3 nms_threshold: 0.45 mask_group_num: 2 "
    for name, values in (("biases", anchors), ("mask", mask), ("anchors_scale", scales)):
        fields += " ".join(f"{name}: {value}" for value in values) + " "
    length = (9 if gaussian else 5) + CLASSES
    shapes = ((1, 2 * length, 2, 3), (1, 2 * length, 4, 6))
    fields += f"gaussian_box: {str(gaussian).lower()}"
    layer = build(f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {fields} }}', *shapes)
    heads = [np.random.default_rng(seed).normal(size=shape) for seed, shape in enumerate(shapes)]
    found = []
    for level, head in enumerate(heads):
        height, width = head.shape[2:]
        for j in range(height):
            for i in range(width):
                for n in range(2):
                    v = head[0, n * length : (n + 1) * length, j, i].tolist()
                    objectness = _sigmoid(v[length - CLASSES - 1])
                    x, y, w, h = (v[0], v[2], v[4], v[6]) if gaussian else v[:4]
                    if gaussian:
                        objectness *= (4 - sum(_sigmoid(value) for value in v[1:8:2])) / 4
                    anchor = mask[2 * level + n]
                    size = [width * scales[level], height * scales[level]]
                    box = [(i + _sigmoid(x)) / width, (j + _sigmoid(y)) / height]
                    extent = zip((w, h), anchors[2 * anchor : 2 * anchor + 2], size, strict=True)
                    box += [math.exp(value) * bias / whole for value, bias, whole in extent]
                    for c in range(CLASSES):
                        score = _sigmoid(v[length - CLASSES + c]) * objectness
                        if score > 0.3:
                            found.append((score, c, box))
    wanted = _rows(found, 0.45)
    assert wanted
    top = layer(*(torch.from_numpy(head) for head in heads))
    np.testing.assert_allclose(top[0, 0], wanted, rtol=1e-6)


def test_without_detections_each_item_has_a_row() -> None:
    text = 'type: "YoloDetectionOutput" yolo_detection_output_param { num_classes: 1 num_box: 1 biases: 1 biases: 1 '
    top = build(text + "confidence_threshold: 0.9 }", (2, 6, 1, 1))(torch.zeros(2, 6, 1, 1))
    assert top.tolist() == [[[[0, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1]]]]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*0 biases; wanted 10"):
        build('type: "YoloDetectionOutput"', (1, 125, 13, 13))
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*wanted a group, with num_box 3 masks"):
        build('type: "Yolov3DetectionOutput"', (1, 75, 13, 13))
    text = 'type: "YoloDetectionOutput" yolo_detection_output_param { num_box: 1 biases: 1 biases: 1 }'
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(N, 25, H, W\)"):
        build(text, (1, 24, 3, 3))
