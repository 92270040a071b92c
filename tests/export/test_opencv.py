"""The check with OpenCV: every blob of a decomposed net, and faults that it must find."""

import sys

import numpy as np
import pytest

import caffe_compat as cc
from tests.export.onnx.test_model import golden_model

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 pad_h: 0 pad_w: 2 group: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 5 } }
"""


def model():
    rng = np.random.default_rng(0)
    shapes = {"conv1": [(6, 2, 3, 5), (6,)], "ip": [(5, 336), (5,)]}
    weights = {
        name: tuple(rng.standard_normal(each).astype(np.float32) for each in blobs) for name, blobs in shapes.items()
    }
    return cc.Model(cc.parse_text(NET, cc.NetParameter), weights)


def test_every_blob_of_a_decomposed_net_is_the_same_in_opencv():
    pytest.importorskip("cv2")
    small = cc.decompose(model(), {"conv1": 4, "ip": 3})
    errors = cc.check_opencv(small)
    assert set(errors) == {"conv1_lowrank", "conv1", "ip_lowrank", "ip"}
    assert max(errors.values()) < 1e-6


def test_a_net_for_training_is_checked_by_way_of_its_deploy_net():
    pytest.importorskip("cv2")
    errors = cc.check_opencv(cc.decompose(golden_model("lenet")[1], {"conv2": 10}))
    assert {"conv2_lowrank", "conv2", "prob"} <= set(errors) and max(errors.values()) < 1e-5


def test_a_net_that_opencv_cannot_read_is_said_in_one_line():
    pytest.importorskip("cv2")
    net = NET + 'layer { name: "e" type: "ArgMax" bottom: "ip" top: "e" }'
    changed = cc.Model(cc.parse_text(net, cc.NetParameter), model().weights)
    with pytest.raises(cc.UnsupportedLayerError, match="OpenCV cannot run it: ") as refusal:
        cc.check_opencv(changed)
    assert "\n" not in str(refusal.value)


def test_without_opencv_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(cc.DataError, match="pip install 'opencv-python-headless<5'"):
        cc.check_opencv(model())


TOPS = """
layer { name: "s" type: "Slice" bottom: "data" top: "p" top: "q" slice_param { slice_point: 1 } }
layer { name: "relu" type: "ReLU" bottom: "p" top: "u" }
layer { name: "relu" type: "TanH" bottom: "q" top: "v" }
layer { name: "conv" type: "Convolution" bottom: "v" top: "tanh" convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "tanh" type: "TanH" bottom: "tanh" top: "conv" }
layer { name: "cat" type: "Flatten" bottom: "conv" top: "w" }
"""


def test_every_top_and_blobs_named_like_other_layers_are_compared():
    pytest.importorskip("cv2")
    net = cc.parse_text(NET.split('layer { name: "conv1"')[0] + TOPS, cc.NetParameter)
    errors = cc.check_opencv(cc.Model(net, cc.Net(net).weights()))
    assert set(errors) == {"p", "q", "u", "v", "tanh", "conv", "w"}
    assert max(errors.values()) < 1e-6


def test_a_net_is_read_as_it_is_where_names_are_clear(monkeypatch):
    pytest.importorskip("cv2")
    from caffe_compat.export import opencv

    written = []

    def write(made, *files):
        written.append(made)
        cc.write_model(made, *files)

    monkeypatch.setattr(opencv, "write_model", write)
    cc.check_opencv(model())
    assert written[0].net == model().net and set(written[0].weights) == set(model().weights)


def test_opencv_5_is_told_by_its_version(monkeypatch):
    class Five:
        __version__ = "5.0.0"
        dnn = object()

    monkeypatch.setitem(sys.modules, "cv2", Five())
    with pytest.raises(cc.DataError, match=r"OpenCV 5\.0\.0 no longer reads .*pip install 'opencv-python-headless<5'"):
        cc.check_opencv(model())


def test_of_a_net_with_rules_opencv_gets_the_layers_of_test():
    pytest.importorskip("cv2")
    text = NET.replace('layer { name: "relu1"', 'layer { name: "relu1" include { phase: TRAIN }')
    text += 'layer { name: "tanh" type: "TanH" bottom: "conv1" top: "conv1t" exclude { phase: TRAIN } }'
    errors = cc.check_opencv(cc.Model(cc.parse_text(text, cc.NetParameter), model().weights))
    assert set(errors) == {"conv1", "ip", "conv1t"} and max(errors.values()) < 1e-6
