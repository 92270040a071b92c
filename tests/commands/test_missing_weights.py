"""A layer for which the given weights have nothing is refused where files are written, and named everywhere."""

import logging

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main

NET = """
name: "r"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "fc1000" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SAID = (
    "caffe-compat: net.caffemodel: nothing for layer 'my_classifier' (there are weights for 'fc1000', which the net "
    "lacks); give the weights of this net, or let them start from their fillers: --allow-missing my_classifier"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """net.prototxt, its net.caffemodel, and renamed.prototxt, whose classifier has another name."""
    monkeypatch.chdir(tmp_path)
    net = cc.parse_text(NET, cc.NetParameter)
    cc.write_model(cc.Model(net, cc.Net(net).weights()), "net.prototxt", "net.caffemodel")
    (tmp_path / "renamed.prototxt").write_text(NET.replace("fc1000", "my_classifier"))
    return tmp_path


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    "words",
    [
        ["export", "renamed.prototxt", "net.caffemodel", "--out", "r.onnx"],
        ["export", "renamed.prototxt", "net.caffemodel", "--out", "r.onnx", "--no-check"],
        ["export", "renamed.prototxt", "net.caffemodel", "--out", "r.pt2"],
        ["decompose", "renamed.prototxt", "net.caffemodel", "--keep", "0.9"],
        ["groups", "split", "renamed.prototxt", "net.caffemodel"],
        ["prune", "renamed.prototxt", "net.caffemodel", "--remove", "0.5"],
        ["surgery", "renamed.prototxt", "net.caffemodel", "--swap-channels"],
        ["deploy", "renamed.prototxt", "--weights=net.caffemodel", "--out=d.prototxt", "--out-weights=d.caffemodel"],
        ["deploy", "renamed.prototxt", "--weights=net.caffemodel", "--out=d.prototxt"],
    ],
)
def test_nothing_is_written_and_one_line_names_the_layer(folder, words, capsys):
    before = names(folder)
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("I")]
    assert lines == [SAID] and names(folder) == before


def test_a_layer_that_is_allowed_starts_from_its_filler(folder, capsys):
    allowed = "--allow-missing=my_classifier"
    for file in ("r.pt2", "r.onnx"):
        if file.endswith("onnx"):
            pytest.importorskip("onnxruntime")
            pytest.importorskip("onnx")
        assert main(["export", "renamed.prototxt", "net.caffemodel", "--out", file, allowed]) == 0
    words = ["decompose", "renamed.prototxt", "net.caffemodel", "--ranks=conv=2", allowed, "--out=s", "--certificate=c"]
    assert main(words) == 0
    assert "my_classifier" not in cc.read_model("s.prototxt", "s.caffemodel").weights
    assert main(["export", "renamed.prototxt", "net.caffemodel", "--allow-missing", "mine"]) == 2
    assert "--allow-missing mine: net 'r' has no such layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["prune", "renamed.prototxt", "net.caffemodel", "--remove=0.5"], "renamed.pruned"),
        (["surgery", "renamed.prototxt", "net.caffemodel", "--fully-convolutional"], "renamed.surgery"),
    ],
)
def test_a_net_is_rewritten_with_a_layer_that_is_allowed(folder, words, made):
    assert main([*words, "--allow-missing=my_classifier"]) == 0
    assert cc.Net(cc.read_model(f"{made}.prototxt", f"{made}.caffemodel")).load_report.missing == ()


def test_weights_of_another_net_are_refused_and_none_at_all_are_not(folder, capsys):
    (folder / "other.prototxt").write_text(NET.replace("fc1000", "a").replace('"conv"', '"b"'))
    assert main(["deploy", "other.prototxt", "--weights", "net.caffemodel"]) == 2
    assert "net.caffemodel: nothing for layer 'b' and 'a' (there are weights for" in capsys.readouterr().err
    assert main(["deploy", "other.prototxt"]) == 0


def test_compare_names_the_layer_whose_random_values_both_nets_then_have(folder, capsys, caplog):
    assert main(["compare", "renamed.prototxt", "renamed.prototxt", "--weights", "net.caffemodel"]) == 0
    assert "No weights in net.caffemodel for 'my_classifier'; kept as initialised" in caplog.text


def test_verify_refuses_and_says_what_the_file_has(folder, capsys):
    words = ["verify", "renamed.prototxt", "net.caffemodel", "--original=renamed.prototxt"]
    assert main([*words, "--original-weights", "net.caffemodel"]) == 2
    assert "net 'r' has no weights for my_classifier (there are weights for 'fc1000'" in capsys.readouterr().err


def test_python_warns_once_a_net(folder, caplog):
    with caplog.at_level(logging.WARNING):
        model = cc.read_model("renamed.prototxt", "net.caffemodel")
        cc.Net(model)
    assert [record.getMessage() for record in caplog.records] == [
        "No weights in net.caffemodel for 'my_classifier'; kept as initialised (there are weights for 'fc1000', which "
        "the net lacks)"
    ]
    caplog.clear()
    cc.Net(cc.read_model("renamed.prototxt"))
    cc.Net(cc.read_model("net.prototxt", "net.caffemodel"))
    assert not caplog.records
    cc.decompose(model, {"conv": 2})
    assert "my_classifier" in caplog.text


def test_a_layer_that_shares_its_blobs_lacks_nothing(folder, caplog):
    layer = 'layer {{ name: "{0}" type: "InnerProduct" bottom: "x" top: "{0}" '
    layer += 'param {{ name: "w" }} param {{ name: "b" }} inner_product_param {{ num_output: 2 }} }}'
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }'
    net = cc.parse_text(text + layer.format("one") + layer.format("two"), cc.NetParameter)
    weights = {"one": (np.ones((2, 3), np.float32), np.ones(2, np.float32))}
    assert cc.missing_weights(cc.Model(net, weights)) == ()
    cc.Net(cc.Model(net, weights))
    assert not caplog.records
