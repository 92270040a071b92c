"""`caffe-compat deploy` writes the deploy form of a net, and its weights."""

import numpy as np
import torch

import caffe_compat as cc
from caffe_compat.commands import main


def test_the_prototxt_goes_to_standard_output(problem, capsys):
    assert main(["deploy", "net.prototxt"]) == 0
    printed = capsys.readouterr()
    net = cc.parse_text(printed.out, cc.NetParameter)
    assert [layer.type for layer in net.layer] == [
        "Input", "Convolution", "ReLU", "Convolution", "InnerProduct", "Softmax"
    ]  # fmt: skip
    assert list(net.layer[0].input_param.shape[0].dim) == [1, 1, 8, 8]  # from the data itself
    assert "layer 'accuracy' (Accuracy) dropped" in printed.err


def test_both_files_give_the_scores_of_the_net_they_come_from(problem, capsys):
    trained = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", trained.param, trained.weights())
    words = ["--weights", "w.caffemodel", "--out", "d.prototxt", "--out-weights", "d.caffemodel", "--batch", "4"]
    assert main(["deploy", "net.prototxt", *words]) == 0
    net = cc.Net(cc.read_model("d.prototxt", "d.caffemodel"))
    images = torch.from_numpy(np.random.RandomState(0).standard_normal((4, 1, 8, 8)).astype(np.float32))
    wanted = trained.blobs(data=images)["ip1"].softmax(1)
    torch.testing.assert_close(net(data=images)["prob"], wanted, rtol=0, atol=0)


def test_a_missing_shape_is_asked_for_in_one_line(problem, capsys):
    (problem.folder / "list.txt").unlink()
    assert main(["deploy", "net.prototxt"]) == 2
    assert "--shape data=" in capsys.readouterr().err.splitlines()[-1]
    assert main(["deploy", "net.prototxt", "--shape", "data=2,1,8,8"]) == 0


def test_weights_that_are_not_given_cannot_be_written(problem, capsys):
    assert main(["deploy", "net.prototxt", "--out-weights", "d.caffemodel"]) == 2
    assert "--weights" in capsys.readouterr().err


def test_an_input_that_a_tool_left_without_a_shape_gets_the_one_given(problem, capsys):
    text = 'layer { name: "in" type: "Input" top: "a" top: "b" } layer { name: "r" type: "ReLU" bottom: "a" top: "r" }'
    text += 'layer { name: "s" type: "ReLU" bottom: "b" top: "s" }'
    problem.write("bare.prototxt", text)
    words = ["deploy", "bare.prototxt", "--out", "d.prototxt", "--shape"]
    assert main([*words, "a=1,3,8,8", "--shape", "b=2"]) == 0
    shapes = cc.read_net("d.prototxt").layer[0].input_param.shape
    assert [list(shape.dim) for shape in shapes] == [[1, 3, 8, 8], [2]]
    assert main(["show", "bare.prototxt"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "input_param.shape is given 0 times" in line and "--input a=N,C,H,W" in line
    assert main(["show", "bare.prototxt", "--input", "a=1,3,8,8", "--input", "b=2"]) == 0
