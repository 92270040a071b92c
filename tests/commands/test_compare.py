"""`caffe-compat compare` answers with its exit status: 0 equal, 1 different."""

import json

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main


@pytest.fixture
def weights(problem):
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", net.param, net.weights())
    return net


def test_a_net_and_its_deploy_form_are_equal(problem, weights, capsys):
    assert main(["deploy", "net.prototxt", "--out", "d.prototxt"]) == 0
    (problem.folder / "list.txt").unlink()  # no data is needed
    assert main(["compare", "net.prototxt", "d.prototxt", "--weights", "w.caffemodel"]) == 0
    printed = capsys.readouterr().out
    assert "only in the second: prob" in printed and "3 blobs are equal" in printed


def test_data_beside_a_net_is_found_from_another_working_directory(problem, weights, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    net = str(problem.folder / "net.prototxt")
    assert main(["compare", net, net, "--weights", str(problem.folder / "w.caffemodel")]) == 0
    assert "blobs are equal" in capsys.readouterr().out


def test_a_dump_can_be_written_and_compared_with(problem, weights, capsys):
    assert main(["compare", "net.prototxt", "--weights", "w.caffemodel", "--dump", "blobs.npz"]) == 0
    with np.load("blobs.npz") as dump:
        assert {"data", "label", "conv1", "conv2", "ip1", "loss"} <= set(dump.files)
    assert main(["compare", "net.prototxt", "blobs.npz", "--weights", "w.caffemodel"]) == 0
    weights.layers["conv2"].blobs[0].data += 1
    cc.write_net("other.caffemodel", weights.param, weights.weights())
    capsys.readouterr()
    assert main(["compare", "net.prototxt", "blobs.npz", "--weights", "other.caffemodel", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_divergence"] == "conv2"


def test_nets_without_weights_share_random_ones(problem, capsys):
    assert main(["compare", "net.prototxt", "net.prototxt"]) == 0


def test_inputs_can_be_given(problem, weights, capsys):
    np.savez("in.npz", data=np.ones((3, 1, 8, 8), np.float32))
    words = ["compare", "net.prototxt", "net.prototxt", "--weights", "w.caffemodel", "--inputs", "in.npz"]
    assert main(words) == 0
    assert "3x6x6x6" in capsys.readouterr().out


def test_bad_dumps_and_missing_ones_are_named(problem, capsys):
    problem.write("bad.npz", "text")
    assert main(["compare", "net.prototxt", "bad.npz"]) == 2
    assert "bad.npz" in capsys.readouterr().err
    assert main(["compare", "net.prototxt", "absent.npz"]) == 2
    assert "absent.npz" in capsys.readouterr().err
    assert main(["compare", "net.prototxt"]) == 2
    assert "--dump" in capsys.readouterr().err
