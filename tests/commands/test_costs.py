"""--json: the numbers of a verb's table as one JSON value, and nothing else on standard output."""

import json

import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.commands.costs import print_json


@pytest.fixture
def small(problem):
    """net.prototxt with small.caffemodel beside it."""
    cc.write_model(cc.Net("net.prototxt").model(), "copy.prototxt", "small.caffemodel")
    return ["net.prototxt", "small.caffemodel"]


def told(capsys, *words):
    """The JSON value that the verb prints."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_decompose_tells_ranks_costs_and_files(small, capsys):
    found = told(capsys, "decompose", *small, "--ranks", "conv2=2", "--out", "chain")
    assert found["ranks"] == {"conv2": 2}
    assert found["saved"] == {"net": "chain.prototxt", "weights": "chain.caffemodel", "solver": "chain.solver.prototxt"}
    # conv2: 5 filters of 6 x 3 x 3 at 4 x 4 places; its chain: 2 such filters, and 5 of 2 x 1 x 1
    costs = found["costs"]["layers"]["conv2"]
    assert costs["before"] == {"multiply_adds": 5 * 54 * 16, "parameters": 5 * 54 + 5}
    assert costs["after"] == {"multiply_adds": (2 * 54 + 5 * 2) * 16, "parameters": 2 * 54 + 5 * 2 + 5}
    whole = found["costs"]
    assert whole["speedup"] == whole["before"]["multiply_adds"] / whole["after"]["multiply_adds"]
    assert told(capsys, "decompose", *small, "--budget", "parameters=0.9", "--out", "budget")["ranks"]


def test_prune_tells_filters_costs_and_the_largest_difference(small, capsys):
    found = told(capsys, "prune", *small, "--remove", "0.5", "--except-layers", "conv2,ip1", "--out", "narrow")
    assert found["filters"]["conv1"] == {"before": 6, "after": 3, "exact": True}
    assert found["costs"]["layers"]["conv1"]["after"]["parameters"] == 3 * 9 + 3
    assert found["saved"][0] == "narrow.prototxt" and all(error < 1e-4 for error in found["blobs"].values())


def test_test_tells_the_means(small, capsys):
    found = told(capsys, "test", small[0], "--weights", small[1], "--iterations", "4")
    net = cc.Net(cc.read_model(*small), phase="TEST")
    mean = sum(float(net()["accuracy"]) for _ in range(4)) / 4
    assert found["iterations"] == 4 and found["outputs"]["accuracy"] == pytest.approx(mean)
    assert found["loss"] == pytest.approx(found["outputs"]["loss"])


def test_time_compares_two_nets_layer_by_layer(small, capsys):
    assert main(["decompose", *small, "--ranks", "conv2=2", "--out", "chain"]) == 0
    capsys.readouterr()
    found = told(capsys, "time", "--compare", "net.prototxt", "chain.prototxt", "--iterations", "2", "--threads", "1")
    rows = {row["name"]: row for row in found["layers"]}
    assert rows["conv2"]["a"] > 0 and rows["conv2"]["b"] > 0 and "conv2_linear" not in rows
    assert {row["name"] for row in found["total"]} == {"channels_last", "contiguous", "prepared"}


def test_shrink_tells_its_stages(small, capsys):
    words = ["--force", "none", "--ranks", "conv2=2", "--fine-tune-iter", "4", "--out", "made", "--threads", "1"]
    found = told(capsys, "shrink", "solver.prototxt", "--weights", small[1], *words)
    first, *_, last = found["stages"]
    assert last["ranks"]["conv2"] == 2 and last["multiply_adds"] < first["multiply_adds"]
    assert "accuracy" in last["scores"] and found["net"].startswith("made")


def test_prune_of_ranks_tells_them_at_every_test(problem, capsys):
    words = ["--ratio", "0.7", "--lra-type", "svd", "--threads", "1"]
    found = told(capsys, "prune", "solver.prototxt", *words)
    assert list(found["ranks"]) == ["conv1_lowrank", "conv2_lowrank"]
    for ranks in found["ranks"].values():
        assert len(ranks) == len(found["iterations"]) and ranks == sorted(ranks, reverse=True)
    assert cc.read_model(*found["saved"][:2]).weights


def test_export_tells_how_far_each_output_is_off(small, capsys):
    pytest.importorskip("onnxruntime")
    made = ["--out", "deploy.prototxt", "--out-weights", "deploy.caffemodel", "--shape", "data=1,1,8,8"]
    assert main(["deploy", small[0], "--weights", small[1], *made]) == 0
    capsys.readouterr()
    found = told(capsys, "export", "deploy.prototxt", "deploy.caffemodel", "--out", "net.onnx")
    assert found["saved"] == "net.onnx" and found["checked"] is True
    assert list(found["errors"]) == ["prob"] and found["errors"]["prob"] < 1e-5


def test_numbers_that_json_has_no_word_for_are_null(capsys):
    print_json({"a": [float("nan"), 1.5], "b": (float("inf"),)})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": [None]}
