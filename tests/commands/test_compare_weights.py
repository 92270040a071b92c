"""`caffe-compat compare a.caffemodel b.caffemodel` compares weights blob by blob."""

import json

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main


@pytest.fixture
def pair(problem):
    """The weights of two files: b has another value in conv2, nothing for ip1, and one layer of its own."""
    net = cc.read_net("net.prototxt")
    net.layer.add(name="extra", type="Bias")
    weights = cc.Net(cc.read_net("net.prototxt")).weights()
    cc.write_net("a.caffemodel", net, weights)
    changed = {
        **weights,
        "conv2": (weights["conv2"][0].copy(), weights["conv2"][1]),
        "extra": (np.ones(3, np.float32),),
    }
    changed["conv2"][0][0, 0, 0, 0] += 0.5
    del changed["ip1"]
    cc.write_net("b.caffemodel", net, changed)
    return weights


def test_equal_files_are_equal(pair, capsys):
    assert main(["compare", "a.caffemodel", "a.caffemodel"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "6 blobs are equal within 0.0001 of their largest value"


def test_what_differs_is_told_blob_by_blob(pair, capsys):
    assert main(["compare", "a.caffemodel", "b.caffemodel", "--json"]) == 1
    rows = {(row["layer"], row["blob"]): row for row in json.loads(capsys.readouterr().out)["blobs"]}
    wanted = 0.5 / np.abs(pair["conv2"][0]).max()
    assert rows["conv2", 0]["relative"] == pytest.approx(wanted, rel=1e-5)
    assert rows["conv1", 0]["absolute"] == 0
    assert rows["ip1", 1]["problem"] == "only in A" and rows["extra", 0]["problem"] == "only in B"
    assert main(["compare", "a.caffemodel", "b.caffemodel"]) == 1
    assert "4 of 7 blobs differ" in capsys.readouterr().out


def test_other_shapes_and_nan_are_differences_and_equal_nan_is_not(problem, capsys):
    net = cc.parse_text('layer { name: "a" type: "Bias" bottom: "x" top: "y" }', cc.NetParameter)
    for name, blob in {"one": [1, np.nan], "same": [1, np.nan], "nan": [np.nan, np.nan], "three": [1, 2, 3]}.items():
        cc.write_net(f"{name}.caffemodel", net, {"a": (np.array(blob, np.float32),)})
    assert main(["compare", "one.caffemodel", "same.caffemodel"]) == 0
    assert main(["compare", "one.caffemodel", "nan.caffemodel"]) == 1
    assert "values that are not finite" in capsys.readouterr().out
    assert main(["compare", "one.caffemodel", "three.caffemodel"]) == 1
    assert "B has 3" in capsys.readouterr().out
