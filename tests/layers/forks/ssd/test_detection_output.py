"""DetectionOutput against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.layers.single import build
from tests.reference.regions import suppressed


def test_a_faceboxes_net_has_smaller_squares_in_every_layer() -> None:
    prior = 'bottom: "x" bottom: "image" prior_box_param { step: 32'
    text = (
        'layer { name: "in" type: "Input" top: "x" top: "image" input_param { shape { dim: 1 dim: 1 dim: 1 dim: 1 } '
        "shape { dim: 1 dim: 3 dim: 64 dim: 64 } } } "
        f'layer {{ name: "a" type: "PriorBox" top: "a" {prior} min_size: 32 min_size: 64 min_size: 128 }} }} '
        f'layer {{ name: "b" type: "PriorBox" top: "b" {prior} min_size: 16 }} }}'
    )
    for dense, half in ((True, 7.5), (False, 8.0)):
        net = parse_text(text if dense else text.replace("min_size: 128", ""), NetParameter)
        top = Net(net, phase="TEST")(x=torch.zeros(1, 1, 1, 1), image=torch.zeros(1, 3, 64, 64))["b"]
        wanted = [(16 - half) / 64] * 2 + [(16 + half) / 64] * 2
        np.testing.assert_allclose(top[0, 0].detach().numpy(), wanted, atol=1e-7)


PRIORS = 12


CLASSES = 3


def _decoded(prior: list[float], variance: list[float], offset: list[float], code: str) -> list[float]:
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    scaled = [o * v for o, v in zip(offset, variance, strict=True)]
    if code == "CORNER":
        return [p + s for p, s in zip(prior, scaled, strict=True)]
    if code == "CORNER_SIZE":
        return [p + s * side for p, s, side in zip(prior, scaled, [w, h, w, h], strict=True)]
    x, y = (prior[0] + prior[2]) / 2 + scaled[0] * w, (prior[1] + prior[3]) / 2 + scaled[1] * h
    half_w, half_h = math.exp(scaled[2]) * w / 2, math.exp(scaled[3]) * h / 2
    return [x - half_w, y - half_h, x + half_w, y + half_h]


@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("keep", [-1, 5])
def test_detections_are_the_survivors_of_each_class(code: str, shared: bool, keep: int) -> None:
    fields = f"num_classes: {CLASSES} share_location: {str(shared).lower()} code_type: {code} keep_top_k: {keep}"
    fields += " confidence_threshold: 0.3 nms_param { nms_threshold: 0.4 top_k: 8 }"
    locations = 1 if shared else CLASSES
    shapes = ((2, PRIORS * locations * 4), (2, PRIORS * CLASSES), (1, 2, PRIORS * 4))
    layer = build(f'type: "DetectionOutput" detection_output_param {{ {fields} }}', *shapes)
    random = np.random.default_rng(3)
    corner = random.random((PRIORS, 2)) * 0.3
    prior = np.concatenate((corner, corner + 0.4 + random.random((PRIORS, 2)) * 0.2), 1).astype(np.float32)
    variance = random.random((PRIORS, 4)).astype(np.float32)
    location = random.normal(size=(2, PRIORS, locations, 4)).astype(np.float32) * 0.3
    confidence = random.random((2, PRIORS, CLASSES)).astype(np.float32)
    wanted = []
    for item in range(2):
        found = []
        for label in range(1, CLASSES):
            place = 0 if shared else label
            boxes = [
                _decoded(*(a.tolist() for a in (prior[p], variance[p], location[item, p, place])), code)
                for p in range(PRIORS)
            ]
            scores = confidence[item, :, label].tolist()
            found += [(item, label, scores[p], *boxes[p]) for p in suppressed(boxes, scores, 0.3, 0.4, 8)]
        if -1 < keep < len(found):
            found = sorted(sorted(found, key=lambda row: -row[2])[:keep], key=lambda row: row[1])
        wanted += found
    inputs = (location, confidence, np.stack((prior, variance)))
    top = layer(*(torch.from_numpy(value).reshape(shape) for value, shape in zip(inputs, shapes, strict=True)))
    assert top.shape == (1, 1, len(wanted), 7)
    np.testing.assert_allclose(top[0, 0].numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_items_without_detections_have_a_row_of_minus_one() -> None:
    text = 'type: "DetectionOutput" detection_output_param { num_classes: 2 confidence_threshold: 0.5 }'
    top = build(text, (2, 4), (2, 2), (1, 2, 4))(torch.zeros(2, 4), torch.zeros(2, 2), torch.ones(1, 2, 4))
    assert top.tolist() == [[[[0, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1]]]]


def test_what_does_not_fit_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': detection_output_param needs num_classes"):
        build('type: "DetectionOutput"', (2, 4), (2, 2), (1, 2, 4))
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(N, 4\), \(N, 3\)"):
        build('type: "DetectionOutput" detection_output_param { num_classes: 3 }', (2, 4), (2, 2), (1, 2, 4))
    build(
        'type: "DetectionOutput" detection_output_param { num_classes: 2 visualize: true }', (2, 4), (2, 2), (1, 2, 4)
    )
    assert "layer 'lay': save_output_param and visualize" in caplog.text
