"""`caffe-compat verify` runs on any net, its labels and data included."""

import json

import pytest

import caffe_compat as cc
from caffe_compat.commands import main

VERIFY = ["verify", "small.prototxt", "small.caffemodel", "--original", "net.prototxt", "--original-weights"]
STORED = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { crop_size: 8 }
  data_param { source: "nowhere" batch_size: 10 backend: LMDB } }
"""


@pytest.fixture
def trained(problem):
    """A net for training with its weights."""
    net = cc.read_net("net.prototxt")
    cc.write_model(cc.Model(net, cc.Net(net).weights()), "net.prototxt", "net.caffemodel")
    return problem


@pytest.mark.parametrize("has_data", [True, False])
def test_a_net_with_labels_is_decomposed_with_a_certificate_and_verified(trained, has_data, capsys):
    if not has_data:
        net = cc.read_net("net.prototxt")
        stored = cc.parse_text(STORED, cc.NetParameter).layer[0]
        net.layer[0].CopyFrom(stored)
        trained.write("net.prototxt", cc.format_text(net))
    words = ["decompose", "net.prototxt", "net.caffemodel", "--ranks", "conv1=6", "--out", "small", "--certificate=c"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*VERIFY, "net.caffemodel", "--no-opencv"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"loss", "accuracy", "conv1"} <= set(found["blobs"]) and max(found["blobs"].values()) < 1e-5
    assert not [blob for blob in found["blobs"] if "_split_" in blob]
    assert found["layers"]["conv1"]["relative_error"] < 1e-5


def test_values_that_are_not_numbers_do_not_verify(trained, capsys):
    model = cc.read_model("net.prototxt", "net.caffemodel")
    weights = {name: tuple(blob.copy() for blob in blobs) for name, blobs in model.weights.items()}
    weights["ip1"][1][0] = float("nan")
    for name in ("net", "small"):
        cc.write_model(cc.Model(model.net, weights), f"{name}.prototxt", f"{name}.caffemodel")
    assert main([*VERIFY, "net.caffemodel", "--no-opencv"]) == 2
    assert "small.prototxt: blob 'ip1' has values that are not numbers" in capsys.readouterr().err
