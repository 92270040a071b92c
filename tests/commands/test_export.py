"""`caffe-compat export` writes ONNX and says how near it is."""

import re
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 7 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = cc.parse_text(NET, cc.NetParameter)
    weights = {"conv1": (np.arange(27, dtype=np.float32).reshape(3, 1, 3, 3), np.ones(3, np.float32))}
    cc.write_model(cc.Model(net, weights), "net.prototxt", "net.caffemodel")
    return tmp_path


def test_the_file_and_its_error_are_told(written, capsys):
    assert main(["export", "net.prototxt", "net.caffemodel"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pool1: off by ") and lines[1] == "Saved as net.onnx"


def test_a_file_that_exists_is_kept(written, capsys):
    (written / "net.onnx").write_text("mine")
    assert main(["export", "net.prototxt", "net.caffemodel"]) == 2
    assert "exists and is kept" in capsys.readouterr().err
    assert (written / "net.onnx").read_text() == "mine"
    assert main(["export", "net.prototxt", "net.caffemodel", "--force-overwrite"]) == 0


def test_a_program_of_torch_export_is_written_for_its_suffix_or_its_format(written, capsys):
    assert main(["export", "net.prototxt", "net.caffemodel", "--out", "net.pt2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["pool1: off by 0 of its largest value", "Saved as net.pt2"]
    assert main(["export", "net.prototxt", "net.caffemodel", "--format", "pt2", "--no-check"]) == 2
    assert "net.pt2: exists and is kept" in capsys.readouterr().err


def broken(monkeypatch):
    """Let the net that is written be another one than that which the check runs."""
    import caffe_compat.export.onnx.elements as elements
    from caffe_compat.export.onnx.program import WRITERS

    monkeypatch.setitem(WRITERS, "Pooling", lambda call: elements.relu(call))
    monkeypatch.setattr(elements, "relu", lambda call: call.op("Identity", call.inputs, call.outputs[0]))


def test_a_file_that_fails_its_check_is_not_written(written, capsys, monkeypatch):
    broken(monkeypatch)
    before = sorted(path.name for path in written.iterdir())
    assert main(["export", "net.prototxt", "net.caffemodel"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("caffe-compat: net.onnx: output 'pool1' has shape") and "is not written" in said
    assert sorted(path.name for path in written.iterdir()) == before
    (written / "net.onnx").write_text("mine")
    assert main(["export", "net.prototxt", "net.caffemodel", "--force-overwrite"]) == 2
    assert (written / "net.onnx").read_text() == "mine"


def test_a_file_that_is_not_checked_says_so_last(written, capsys):
    assert main(["export", "net.prototxt", "net.caffemodel", "--no-check"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Saved as net.onnx, not checked"


def test_a_net_for_training_is_refused_with_the_command_that_makes_the_one_to_export(problem, capsys):
    problem.edit("net.prototxt", 'top: "label"', 'top: "label" include { phase: TRAIN }')
    (problem.folder / "my net.prototxt").write_text((problem.folder / "net.prototxt").read_text())
    net = cc.Net(cc.read_net("net.prototxt"), phase="TRAIN")
    cc.write_net("w.caffemodel", net.param, net.weights())
    assert main(["export", "my net.prototxt", "w.caffemodel", "--out", "a.onnx"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "export what caffe-compat deploy 'my net.prototxt' --weights w.caffemodel" in line
    words = ["--out", "deploy.prototxt", "--out-weights", "deploy.caffemodel"]
    assert main(["deploy", "my net.prototxt", "--weights", "w.caffemodel", *words]) == 0
    assert main(["export", "deploy.prototxt", "deploy.caffemodel", "--out", "a.onnx"]) == 0


def test_other_verbs_for_deploy_nets_advise_that_command_too(problem, capsys):
    net = cc.Net(cc.read_net("net.prototxt"), phase="TRAIN")
    cc.write_net("w.caffemodel", net.param, net.weights())
    problem.write("gone.prototxt", re.sub('source: "[^"]*"', 'source: "gone"', Path("net.prototxt").read_text()))
    for words, told in (
        (["surgery", "gone.prototxt", "w.caffemodel", "--fully-convolutional"], "rewrite what caffe-compat deploy"),
        (["time", "gone.prototxt"], "time what caffe-compat deploy gone.prototxt --shape BLOB=SHAPE --out"),
    ):
        assert main(words) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "'gone' is not at" in line and told in line
