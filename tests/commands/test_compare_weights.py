"""`caffe-compat compare a.caffemodel b.caffemodel` compares weights blob by blob."""

import json

import h5py
import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden


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


def written(array, name):
    """A file of `name` that holds `array` as its only values."""
    if name.endswith(".npz"):
        np.savez(name, mean=array)
    elif name.endswith(".npy"):
        np.save(name, array)
    elif name.endswith(".binaryproto"):
        cc.write_blob(name, array[None])  # with the axis of items that Caffe's tools write
    elif name.endswith(".h5"):
        with h5py.File(name, "w") as file:
            file["mean"], file["words"] = array, "not compared"
    else:
        pytest.importorskip("safetensors.numpy").save_file({"mean": array}, name)
    return name


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.npy", "b.npy"), ("a.npy", "b.binaryproto"), ("a.npz", "b.npz"), ("a.npz", "b.h5"), ("a.h5", "b.safetensors")],
)
def test_arrays_are_compared_whatever_holds_them(one, other, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    values = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    assert main(["compare", written(values, one), written(values, other)]) == 0
    assert main(["compare", one, written(values + np.float32(2.3), other)]) == 1
    rows = capsys.readouterr().out.splitlines()
    assert rows[-2].split()[-2:] == ["2.3", "0.1"]


def test_states_are_compared_in_either_form(tmp_path, capsys):
    state = golden("resume", "adam", "snap_iter_15.solverstate")
    assert main(["convert", str(state), str(tmp_path / "s.solverstate.h5")]) == 0
    assert main(["compare", str(state), str(tmp_path / "s.solverstate.h5")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("12 blobs are equal")


def test_files_of_two_kinds_and_a_net_beside_weights_are_refused(pair, capsys):
    np.save("m.npy", np.ones(3))
    assert main(["compare", "a.caffemodel", "m.npy"]) == 2
    told = capsys.readouterr().err
    assert told == (
        "caffe-compat: compare: a.caffemodel holds weights and m.npy one array; two files of one kind are wanted\n"
    )
    assert main(["compare", "net.prototxt", "m.npy"]) == 2
    told = capsys.readouterr().err
    assert told.endswith(
        "; compare takes two nets (--weights and --other-weights are theirs), or two files of weights\n"
    )
