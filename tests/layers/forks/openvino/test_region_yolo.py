"""RegionYolo against the fork's walk over memory."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

BOXES, COORDS, CLASSES, H, W = 3, 4, 5, 2, 4
SHAPE = (2, BOXES * (COORDS + 1 + CLASSES), H, W)
FIELDS = f"region_yolo_param {{ coords: {COORDS} classes: {CLASSES} num: {BOXES} }}"


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def walk(memory: list[float], number: int, softmax: bool) -> list[float]:
    """The top's memory, entry by entry: which entry of which box a value is, its place in memory tells."""
    top, plane = list(memory), H * W
    a_box = plane * (COORDS + 1 + CLASSES)
    for start in range(0, number * BOXES * a_box, a_box):
        for place in range(plane):
            entries = [start + entry * plane + place for entry in range(COORDS + 1 + CLASSES)]
            for entry in (0, 1, COORDS):
                top[entries[entry]] = logistic(memory[entries[entry]])
            scores = [memory[index] for index in entries[COORDS + 1 :]]
            total = sum(math.exp(score - max(scores)) for score in scores)
            for index, score in zip(entries[COORDS + 1 :], scores, strict=True):
                top[index] = math.exp(score - max(scores)) / total if softmax else logistic(score)
    return top


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        (FIELDS, (2, SHAPE[1] * H * W)),
        (f"{FIELDS} flatten_param {{ axis: 2 }}", (2, SHAPE[1], H * W)),
        (f"{FIELDS} flatten_param {{ axis: 1 end_axis: 2 }}", (2, SHAPE[1] * H, W)),
    ],
)
def test_version_2_is_the_forks_walk_over_memory(fields: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    layer = build(f'type: "RegionYolo" {fields}', SHAPE)
    y = layer(x)
    assert y.shape == layer.top_shapes([SHAPE])[0] == shape
    assert y.flatten().tolist() == pytest.approx(walk(x.flatten().tolist(), 2, softmax=True))
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_version_3_has_a_logistic_function_a_class_and_boxes_of_its_mask() -> None:
    x = torch.randn(SHAPE, dtype=torch.float64)
    fields = f"coords: {COORDS} classes: {CLASSES} num: 9 do_softmax: false mask: 6 mask: 7 mask: 8 anchors: 10"
    y = build(f'type: "RegionYolo" region_yolo_param {{ {fields} }}', SHAPE)(x)
    assert y.shape == SHAPE
    assert y.flatten().tolist() == pytest.approx(walk(x.flatten().tolist(), 2, softmax=False))


def test_the_defaults_are_those_of_a_box_of_pascal_voc() -> None:
    layer = build('type: "RegionYolo"', (1, 25, 3, 3))
    assert layer.top_shapes([(1, 25, 3, 3)]) == [(1, 225)]


def test_channels_and_settings_that_do_not_fit_are_told() -> None:
    with pytest.raises(
        ShapeError, match=r"\(1, 24, 3, 3\) is not \(N, 25, H, W\): 1 boxes of 4 coords, 1 and 20 classes"
    ):
        build('type: "RegionYolo"', (1, 24, 3, 3))
    with pytest.raises(ShapeError, match=r"flatten_param\.axis 3 comes after end_axis 1"):
        build('type: "RegionYolo" flatten_param { axis: 3 end_axis: 1 }', (1, 25, 3, 3))
    with pytest.raises(
        UnsupportedParameterError, match="coords of 2 or more, classes and num of 1 or more; found 1, 20"
    ):
        build('type: "RegionYolo" region_yolo_param { coords: 1 }', (1, 22, 3, 3))
