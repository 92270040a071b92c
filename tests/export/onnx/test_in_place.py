"""Exported nets have the forward pass of Caffe's memory: real Caffe's tops (tests/golden/inplace), and Net's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.net.test_in_place import CASES, INPUT, READ_LATER, layer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

LOSSY = ("EltwiseSUM", "EltwiseMAX", "LRN", "PoolAVE")
PLAIN = ("AbsVal", "BNLL", "Clip", "ELU", "Exp", "LRN", "Power1", "Power2", "ReLU", "Sigmoid", "Softmax", "TanH")
NAMES = [n for n, (case, _) in CASES.items() if case["first"] in PLAIN and case["in_place"][0] in LOSSY]


def run(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {k: v for k, v in inputs.items() if k in wanted}), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_that_loses_its_bottom_gives_caffes_top(name, tmp_path):
    case, arrays = CASES[name]
    model = cc.Model(parse_text(case["prototxt"], NetParameter, name), {})
    cc.write_onnx(model, tmp_path / "net.onnx")
    inputs = {key.removeprefix("bottom_"): value for key, value in arrays.items() if key.startswith("bottom_")}
    found = run(tmp_path / "net.onnx", inputs)["c"]
    np.testing.assert_allclose(found, arrays["top_c"], rtol=1e-5, atol=1e-5 * np.abs(arrays["top_c"]).max())


def test_every_kind_is_among_the_cases():
    assert {CASES[name][0]["in_place"][0] for name in NAMES} == set(LOSSY)


def test_a_blob_overwritten_behind_a_flatten_is_read_and_given_as_it_lies(tmp_path):
    text = READ_LATER + layer("g", "Flatten", "x") + layer("h", "TanH", "g", "g")
    model = cc.Model(parse_text(text, NetParameter, "net"), {})
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    cc.write_onnx(model, tmp_path / "net.onnx")
    found = run(tmp_path / "net.onnx", {"x": x})
    np.testing.assert_allclose(found["s"], np.maximum(2 * x, 0) + 1, rtol=1e-6)
    program = cc.to_exported_program(model).module()
    np.testing.assert_allclose(program(torch.from_numpy(x))["s"].numpy(), found["s"], rtol=1e-6)
    with cc.default_in_place("right"):
        cc.write_onnx(model, tmp_path / "right.onnx")
    np.testing.assert_allclose(run(tmp_path / "right.onnx", {"x": x})["s"], 2 * x + 1, rtol=1e-6)


def test_an_output_is_what_lies_in_its_memory_in_the_end(tmp_path):
    text = INPUT + layer("a", "Power", "x", fields="power_param { scale: 2 }") + layer("f", "Flatten", "a")
    text += layer("r", "ReLU", "f", "f") + layer("q", "Slice", "a")
    model = cc.Model(parse_text(text, NetParameter, "net"), {})
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 5)).astype(np.float32)
    cc.write_onnx(model, tmp_path / "net.onnx")
    found, wanted = run(tmp_path / "net.onnx", {"x": x}), cc.Net(model)(x=x)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-6)
    np.testing.assert_allclose(found["q"], np.maximum(2 * x, 0), rtol=1e-6)


def test_a_convolution_that_depends_on_the_blas_library_is_refused():
    text = INPUT + layer("a", "TanH", "x", "c")
    text += layer("t", "Convolution", "c", "c", "convolution_param { num_output: 3 kernel_size: 1 }")
    model = cc.Model(parse_text(text, NetParameter, "net"), {})
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 't' .*a matter of the BLAS library"):
        cc.to_onnx(model)
