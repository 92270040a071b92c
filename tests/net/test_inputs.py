"""Inputs that any net takes: every layer runs on them, and what each kind of bottom holds follows its rule."""

import json

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.layers.registry import known_types
from caffe_compat.net.inputs import complete_inputs, valid_inputs
from tests.conftest import golden

CASES = {case["name"]: case for case in json.loads(golden("layers", "cases.json").read_text())}


def net_of(*layers, phase="TEST", **shapes):
    """A net of inputs and, for each layer, its prototxt."""
    net = cc.parse_text("\n".join(layers), cc.NetParameter)
    for name, shape in reversed(shapes.items()):
        source = cc.parse_text(f'layer {{ name: "{name}" type: "Input" top: "{name}" }}', cc.NetParameter).layer[0]
        source.input_param.shape.add(dim=shape)
        rest = list(net.layer)
        del net.layer[:]
        net.layer.extend([source, *rest])
    return cc.Net(net, phase)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if set(case["types"]) <= set(known_types())])
def test_every_layer_that_caffe_ran_runs_and_gives_numbers(name, monkeypatch):
    monkeypatch.chdir(golden("layers"))
    monkeypatch.syspath_prepend(str(golden("layers")))
    compat = "wen2017" if CASES[name]["source"] == "caffe" else "bvlc"
    net = cc.Net(cc.read_net(f"{name}.prototxt"), phase=CASES[name]["phase"], compat=compat)
    tops = net.blobs(**valid_inputs(net))
    assert all(bool(top.isfinite().all()) for top in tops.values())


def test_labels_are_classes_of_the_reader_that_knows_least_through_splits_and_slices():
    net = net_of(
        'layer { name: "s" type: "Slice" bottom: "label" top: "one" top: "two" slice_param { axis: 1 } }',
        'layer { name: "a" type: "SoftmaxWithLoss" bottom: "ten" bottom: "one" top: "a" }',
        'layer { name: "b" type: "SoftmaxWithLoss" bottom: "three" bottom: "two" top: "b" }',
        'layer { name: "c" type: "Accuracy" bottom: "three" bottom: "two" top: "c" }',
        ten=(400, 10), three=(400, 3), label=(400, 2),
    )  # fmt: skip
    labels = valid_inputs(net)["label"]
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.isfinite(net(**valid_inputs(net))["a"].item())


def test_labels_of_pixels_are_classes_along_the_axis():
    net = net_of(
        'layer { name: "a" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "a" softmax_param { axis: -1 } }',
        x=(2, 30, 4), y=(2, 30),
    )  # fmt: skip
    assert set(np.unique(valid_inputs(net)["y"])) == {0, 1, 2, 3}


def test_images_are_normal_the_seed_decides_and_the_batch_is_that_of_what_is_given():
    net = net_of('layer { name: "r" type: "ReLU" bottom: "x" top: "r" }', 'layer { name: "q" type: "Silence" '
                 'bottom: "y" }', x=(40, 50), y=(40, 2))  # fmt: skip
    drawn = valid_inputs(net, seed=3)
    assert abs(drawn["x"].mean()) < 0.1 and abs(drawn["x"].std() - 1) < 0.1 and drawn["x"].dtype == np.float32
    assert (valid_inputs(net, seed=3)["x"] == drawn["x"]).all() and (valid_inputs(net, seed=4)["x"] != drawn["x"]).any()
    assert complete_inputs(net, {"y": np.zeros((7, 2))})["x"].shape == (7, 50)


def test_regions_lie_in_the_image_and_name_items_of_the_batch():
    layer = (
        'layer { name: "p" type: "ROIPooling" bottom: "x" bottom: "rois" top: "p" '
        "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }"
    )
    rows = valid_inputs(net_of(layer, x=(3, 4, 8, 20), rois=(60, 5)))["rois"]
    assert set(rows[:, 0]) == {0, 1, 2} and (rows[:, 3:] > rows[:, 1:3]).all() and (rows[:, 1:] >= 0).all()
    assert 100 < rows[:, 3].max() < 320 and 40 < rows[:, 4].max() < 128


def test_sequences_begin_and_go_on():
    layer = 'layer { name: "l" type: "LSTM" bottom: "x" bottom: "cont" top: "l" recurrent_param { num_output: 3 } }'
    cont = valid_inputs(net_of(layer, x=(5, 2, 4), cont=(5, 2)))["cont"]
    np.testing.assert_array_equal(cont, [[0, 0], [1, 1], [1, 1], [1, 1], [1, 1]])


def test_a_logarithm_gets_what_it_has_a_number_for():
    layer = 'layer { name: "l" type: "Log" bottom: "x" top: "l" log_param { scale: -2 shift: 3 } }'
    net = net_of(layer, x=(30,))
    assert bool(net(**valid_inputs(net))["l"].isfinite().all()) and valid_inputs(net)["x"].any()


def test_the_size_of_the_image_is_that_of_the_features_times_the_stride():
    layer = (
        'layer { name: "p" type: "Proposal" bottom: "s" bottom: "o" bottom: "im_info" top: "p" proposal_param '
        "{ feat_stride: 8 base_size: 8 ratio: 1 scale: 16 pre_nms_topn: 20 post_nms_topn: 5 nms_thresh: 0.7 } }"
    )
    net = net_of(layer, s=(1, 2, 6, 9), o=(1, 4, 6, 9), im_info=(1, 3))
    np.testing.assert_array_equal(valid_inputs(net)["im_info"], [[48, 72, 1]])
    assert len(net(**valid_inputs(net))["p"]) > 0


@pytest.mark.parametrize("kind", ["EuclideanLoss", "TripletLoss"])
def test_targets_that_are_no_classes_are_normal(kind):
    third = ' bottom: "z"' if kind == "TripletLoss" else ""
    shapes = {"x": (6, 9), "y": (6, 9), **({"z": (6, 9)} if third else {})}
    net = net_of(f'layer {{ name: "e" type: "{kind}" bottom: "x" bottom: "y"{third} top: "e" }}', **shapes)
    assert float(net(**valid_inputs(net))["e"]) > 0
