"""caffe-compat prune NET WEIGHTS: files, certificate, what verify says of them, and one line for what cannot be."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main

NET = """
name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "b" top: "ip" inner_product_param { num_output: 4 } }
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = cc.parse_text(NET, cc.NetParameter)
    rng = np.random.default_rng(0)
    blobs = {"a": [(8, 3, 3, 3), (8,)], "b": [(6, 8, 1, 1), (6,)], "ip": [(4, 96), (4,)]}
    weights = {name: tuple(rng.normal(size=s).astype(np.float32) for s in shapes) for name, shapes in blobs.items()}
    weights["a"][0][[2, 5]] = 0
    cc.write_model(cc.Model(net, weights), "n.prototxt", "n.caffemodel")
    return ["n.prototxt", "n.caffemodel"]


def test_a_share_of_each_layer_goes_and_verify_reads_it_back(files, capsys):
    assert main(["prune", *files, "--criterion", "l1", "--remove", "0.5", "--out", "small"]) == 0
    small = cc.read_model("small.prototxt", "small.caffemodel")
    assert [small.weights[name][0].shape for name in ("a", "b", "ip")] == [(4, 3, 3, 3), (3, 4, 1, 1), (4, 48)]
    assert json.loads(Path("small.certificate.json").read_text())["layers"]["a"]["largest"] == 8
    again = ["--original", "n.prototxt", "--original-weights", "n.caffemodel", "--no-opencv"]
    verify = ["verify", "small.prototxt", "small.caffemodel", *again, "--certificate", "small.certificate.json"]
    assert main(verify) == 0
    small.weights["b"][0][0] += 1
    cc.write_model(small, "small.prototxt", "small.caffemodel")
    capsys.readouterr()
    assert main(verify) == 2
    assert "layer 'b': weights are 1 from what the original's filters leave" in capsys.readouterr().err


def test_filters_of_zeros_go_and_outputs_stay(files, capsys):
    assert main(["prune", *files, "--criterion", "zeros", "--out", "small"]) == 0
    found = json.loads(Path("small.certificate.json").read_text())
    assert found["layers"]["a"]["kept"] == [0, 1, 3, 4, 6, 7]
    assert found["blobs"]["ip"] < 1e-6


def test_a_budget_of_multiply_adds_is_met(files):
    assert main(["prune", *files, "--multiply-adds", "0.4", "--out", "small"]) == 0
    before, after = cc.read_model(*files), cc.read_model("small.prototxt", "small.caffemodel")
    comparison = cc.compare_cost(before, after)
    assert 0.15 < comparison.after.multiply_adds / comparison.before.multiply_adds <= 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--criterion", "l3"], "criterion is 'l3'; did you mean"),
        (["--criterion", "fisher"], "criterion 'fisher' needs data: name the net"),
        (["--remove", "1"], "remove is 1; wanted 0 or more and less than 1"),
        (["--ratios", "a"], "--ratios has 'a'; wanted LAYER=SHARE"),
        (["--ratios", "aa=0.5"], "net 'n' has no layer 'aa'; did you mean 'a'?"),
        (["--except-layers", "a,b"], "nothing to remove by criterion 'l2'"),
        (["--multiply-adds", "0.001"], "multiply_adds 0.001 cannot be met"),
        (["--criterion", "bn"], "criterion 'bn': no Scale follows layer 'a'"),
    ],
)
def test_what_cannot_be_is_one_line(files, options, message, capsys):
    assert main(["prune", *files, *options, "--out", "small"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(name.startswith("small") for name in os.listdir())
