"""A net that ends at chosen blobs, in every format."""

import re

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.export.ending import ending_at

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 5 } } }
layer { name: "im" type: "Input" top: "im" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "a_relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 4 } }
layer { name: "c" type: "InnerProduct" bottom: "a" top: "c" inner_product_param { num_output: 2 } }
layer { name: "d" type: "Im2col" bottom: "a" top: "d" convolution_param { kernel_size: 2 } }
layer { name: "e" type: "InnerProduct" bottom: "im" top: "e" inner_product_param { num_output: 2 } }
"""
FORMATS = {
    "onnx": (cc.write_onnx, cc.check_onnx),
    "pt2": (cc.write_exported_program, cc.check_exported_program),
}


@pytest.fixture
def model():
    net = cc.parse_text(NET, cc.NetParameter)
    random = np.random.RandomState(0)
    shapes = {name: [blob.shape for blob in blobs] for name, blobs in cc.Net(net).params.items()}
    drawn = {name: [random.standard_normal(each).astype(np.float32) for each in its] for name, its in shapes.items()}
    return cc.Model(net, {name: tuple(blobs) for name, blobs in drawn.items()})


def test_only_the_layers_that_the_blobs_need_are_left(model):
    left = ending_at(model, ["b"])
    assert [layer.name for layer in left.net.layer] == ["x", "a", "a_relu", "b"]
    assert left.weights.keys() == {"a", "b"}
    assert ending_at(model, []) is model


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_has_the_blobs_that_were_asked_for_also_such_as_others_read(form, model, tmp_path):
    write, check = FORMATS[form]
    write(model, tmp_path / "net", {"im": (1, 3)}, outputs=["c", "a"])
    assert list(check(tmp_path / "net", model)) == ["c", "a"]


def test_plain_torch_ends_there_too(model):
    text, _ = cc.torch_source(model, outputs=["a"])
    assert 'return self.blobs(x)["a"]' in text and "Im2col" not in text


def test_a_blob_in_place_is_what_its_last_layer_makes(model, tmp_path):
    cc.write_onnx(model, tmp_path / "net.onnx", outputs=["a"])
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    x = np.random.RandomState(1).standard_normal((1, 2, 6, 5)).astype(np.float32)
    assert [value.name for value in session.get_inputs()] == ["x"]
    assert session.run(["a"], {"x": x})[0].min() == 0


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ("bb", r"net '' has no blob 'bb' to end at; did you mean 'b'\?"),
        ("x", "net '' cannot end at 'x': layer 'x' gives it, no layer computes it"),
        ("b,b", "net '': output 'b' is named twice"),
    ],
)
def test_the_command_says_in_a_line_why_it_cannot_end_there(outputs, told, model, tmp_path, capsys):
    cc.write_model(model, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    words = ["export", str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"), "--output", outputs]
    assert main(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and re.search(told, lines[0])
    assert not (tmp_path / "net.onnx").exists()


def test_the_command_ends_at_blobs(model, tmp_path, capsys):
    cc.write_model(model, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    words = ["export", str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")]
    assert main(words) == 2 and "layer 'd' (Im2col)" in capsys.readouterr().err
    assert main([*words, "--output", "b,c"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["b", "c"]
