"""`caffe-compat check` answers with its exit status: 0 clean, 1 problems, 2 unreadable."""

import json

import numpy as np

import caffe_compat as cc
from caffe_compat.commands import main


def test_a_net_alone_is_clean(problem, capsys):
    assert main(["check", "net.prototxt"]) == 0
    printed = capsys.readouterr().out
    assert "conv1" in printed and "exact" in printed and "no problems" in printed


def test_problems_are_all_printed_and_the_status_is_1(problem, capsys):
    problem.edit("net.prototxt", 'bottom: "conv2" top: "ip1"', 'bottom: "conv3" top: "ip1"')
    problem.edit("net.prototxt", 'name: "relu1" type: "ReLU"', 'name: "relu1" type: "Relu"')
    assert main(["check", "net.prototxt"]) == 1
    printed = capsys.readouterr().out
    assert "problem: layer 'ip1'" in printed and "problem: layer 'relu1'" in printed
    assert "did you mean 'ReLU'?" in printed


def test_weights_are_checked_against_the_net(problem, capsys):
    cc.write_net("w.caffemodel", cc.read_net("net.prototxt"), {"conv1": (np.ones((6, 1, 3, 3), np.float32),)})
    assert main(["check", "net.prototxt", "w.caffemodel"]) == 1
    printed = capsys.readouterr().out
    assert "cannot copy layer 'conv1': source has 1 blobs, target has 2" in printed
    assert "layer 'ip1': has no weights" in printed


def test_a_caffemodel_is_checked_with_its_own_net(problem, capsys):
    net = cc.Net(cc.read_net("net.prototxt"), phase="TRAIN")
    cc.write_net("w.caffemodel", net.model().net, net.weights())
    assert main(["check", "w.caffemodel"]) == 0
    assert "phases TRAIN" in capsys.readouterr().out


def test_an_unreadable_file_gives_2_and_the_others_are_checked(problem, capsys):
    problem.write("bad.prototxt", "layer { nam: 'x' }")
    assert main(["check", "bad.prototxt", "net.prototxt"]) == 2
    printed = capsys.readouterr()
    assert "bad.prototxt:1:9: " in printed.err and "no problems" in printed.out


def test_json_is_one_array(problem, capsys):
    assert main(["check", "net.prototxt", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["clean"] is True and report["net"] == "Small" and report["phases"] == ["TRAIN", "TEST"]
