"""What stands in for py-faster-rcnn's Python layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.errors import DataError, ShapeError, UnsupportedLayerError, UnsupportedParameterError
from caffe_compat.layers.forks.faster_rcnn.python_layers import anchors
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.layers.single import build
from tests.layers.sources import layer_of

TEXT = 'type: "Python" python_param {{ module: "{}" layer: "{}" param_str: "{}" }}'


PROPOSAL = TEXT.format("rpn.proposal_layer", "ProposalLayer", "'feat_stride': 16")


SHAPES = ((1, 18, 4, 5), (1, 36, 4, 5), (1, 3))


def test_anchors_are_those_that_generate_anchors_prints() -> None:
    # the table in the head of py-faster-rcnn's generate_anchors.py, whose places count from 1
    wanted = [
        [-83, -39, 100, 56], [-175, -87, 192, 104], [-359, -183, 376, 200],
        [-55, -55, 72, 72], [-119, -119, 136, 136], [-247, -247, 264, 264],
        [-35, -79, 52, 96], [-79, -167, 96, 184], [-167, -343, 184, 360],
    ]  # fmt: skip
    assert (anchors((8, 16, 32)) + 1).tolist() == wanted


def test_proposals_are_large_enough_and_thinned_out() -> None:
    layer = build(PROPOSAL, *SHAPES, tops=2)
    generator = np.random.default_rng(0)
    scores, offsets = generator.random(SHAPES[0]), generator.normal(size=SHAPES[1]) * 0.2
    rois, own = layer(*(torch.from_numpy(v) for v in (scores, offsets)), torch.tensor([[64.0, 80.0, 3.0]]))
    assert own.shape == (len(rois), 1, 1, 1)
    assert (own.flatten().diff() <= 0).all()
    assert not rois[:, 0].any()
    sizes = rois[:, 3:] - rois[:, 1:3] + 1
    assert sizes.min() >= 48
    assert rois[:, 1:].min() >= 0
    assert rois[:, 3].max() <= 79
    assert rois[:, 4].max() <= 63
    for i in range(len(rois)):
        for j in range(i):
            a, b = rois[i, 1:], rois[j, 1:]
            shared = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2]) + 1).clamp(min=0).prod()
            assert shared / (sizes[i].prod() + sizes[j].prod() - shared) <= 0.7
    best = scores[0, 9:].transpose(1, 2, 0).reshape(-1).max()
    assert own.max().item() <= best


def test_an_untouched_anchor_comes_back_a_pixel_larger() -> None:
    # bbox_transform.py counts both ends of a box when it reads its size, and not when it writes the new corners
    scores, offsets = torch.zeros(SHAPES[0]), torch.zeros(SHAPES[1])
    scores[0, 9 + 3, 1, 2] = 1  # the square of 128, at row 1 and column 2
    rois = build(PROPOSAL, *SHAPES)(scores, offsets, torch.tensor([[600.0, 800.0, 1.0]]))
    assert rois[0].tolist() == [0, 0, 0, 72 + 32, 72 + 16]


def test_training_layers_are_built_for_their_shapes() -> None:
    text = TEXT.format("rpn.anchor_target_layer", "AnchorTargetLayer", "{'feat_stride': 16, 'scales': [4, 8]}")
    layer = build(text, (1, 12, 4, 5), (1, 4), (1, 3), (1, 3, 64, 80), tops=4)
    assert layer.top_shapes([(1, 12, 4, 5)]) == [(1, 1, 24, 5), *[(1, 24, 4, 5)] * 3]
    text = TEXT.format("rpn.proposal_target_layer", "ProposalTargetLayer", "'num_classes': 21")
    layer = build(text, (1, 5), (1, 4), tops=5)
    assert layer.top_shapes([]) == [(1, 5), (1, 1, 1, 1), *[(1, 84, 1, 1)] * 3]
    with pytest.raises(UnsupportedLayerError, match=r"layer 'lay': .*put py-faster-rcnn's folder beside the net"):
        layer(torch.zeros(1, 5), torch.zeros(1, 4))


def test_image_layers_have_the_shapes_that_they_start_with() -> None:
    text = TEXT.format("roi_data_layer.layer", "RoIDataLayer", "'num_classes': 21")
    tops = ' top: "data" top: "im_info" top: "gt_boxes"'
    assert layer_of(f'name: "lay" {text}{tops}').top_shapes([]) == [(1, 3, 600, 1000), (1, 3), (1, 4)]
    with pytest.raises(DataError, match=r"layer 'lay': there is no Python module 'roi_data_layer.layer'"):
        layer_of(f'name: "lay" {text} top: "other"').top_shapes([])


NET = """
layer { name: "in" type: "Python" top: "data" top: "label" python_param { module: "nowhere_at_all" layer: "Any" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "data" bottom: "label" top: "loss" }
"""


def test_data_of_an_absent_module_is_the_users(tmp_path: Path) -> None:
    model = cc.Model(parse_text(NET, NetParameter), {})
    with pytest.raises(DataError, match=r"layer 'in': there is no Python module 'nowhere_at_all'.*--input data=SHAPE"):
        cc.Net(model, phase="TRAIN", folder=tmp_path)
    net = cc.Net(model, phase="TRAIN", folder=tmp_path, input_shapes={"data": (2, 3), "label": (2, 3)})
    assert net(data=torch.ones(2, 3), label=torch.zeros(2, 3))["loss"].item() == 1.5
    (tmp_path / "nowhere_at_all.py").write_text("import caffe\n\nclass Any(caffe.Layer):\n    pass\n")
    report = cc.check(model, phases=["TRAIN"], folder=tmp_path)
    assert report.clean


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': python_param.param_str 'nonsense' is no dict"):
        build(TEXT.format("rpn.proposal_layer", "ProposalLayer", "nonsense"), *SHAPES)
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*wanted feat_stride"):
        build(TEXT.format("rpn.proposal_layer", "ProposalLayer", "'ratios': [1]"), *SHAPES)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(1, 18, H, W\)"):
        build(PROPOSAL, SHAPES[1], SHAPES[1], SHAPES[2])
    with pytest.raises(DataError, match="layer 'lay': a batch of 2"):
        build(PROPOSAL, *SHAPES)(torch.zeros(2, 18, 4, 5), torch.zeros(2, 36, 4, 5), torch.ones(1, 3))
