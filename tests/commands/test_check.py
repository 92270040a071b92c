"""`caffe-compat check` answers with its exit status: 0 clean, 1 problems, 2 unreadable."""

import json
from pathlib import Path

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


def test_another_dialect_of_the_weights_is_told_in_a_line(problem, capsys):
    net = cc.read_net("net.prototxt")
    cc.write_net("w.caffemodel", net, {})
    main(["check", "net.prototxt", "w.caffemodel"])
    assert "is in the dialect" not in capsys.readouterr().out
    net.layer.add(name="p", type="Permute").permute_param.order.append(0)
    cc.write_net("w.caffemodel", net, {})
    main(["check", "net.prototxt", "w.caffemodel"])
    assert "w.caffemodel is in the dialect ssd, the net in bvlc" in capsys.readouterr().out


def test_field_that_forks_disagree_about_is_one_problem(problem, capsys):
    data = b"\xa2\x06\x18\x0a\x01a\x12\x0bConvolution\xd2\x06\x05\x08\x04\x98\x01\x01"  # field 19 of convolution_param
    Path("w.caffemodel").write_bytes(data)
    assert main(["check", "w.caffemodel"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("field convolution_param.19 is cudnn_convolution_algo_seeker in nvidia and windows, ") == 1
    assert "nothing tells which; it is kept, but has no effect" in printed


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


def test_every_mistake_of_a_text_is_listed_with_the_way_out(problem, capsys):
    problem.write(
        "bad.prototxt",
        'name: "n"\n'
        'layer { nam: "x" type: "Convolution" bottm: "y" convolution_param { num_output: 3 kernel_sise: 3 pad: -1 } }\n'
        "layer { type: Pooling pooling_param { pool: MAXX stride: 2 } top: 'a'\n"
        "  unheard { of { deep: [1, 2] } more: 'x' 'y' } top: 'open\n"
        '  name: "q" name: "r" }\n'
        "layer { pooling_param { kernel_size 3 } loss_weight: [1, x] }\n"
        "forse_backward: true }\n",
    )
    assert main(["check", "bad.prototxt", "net.prototxt"]) == 2
    printed = capsys.readouterr()
    assert "no problems" in printed.out
    said = [line.removeprefix("caffe-compat: bad.prototxt:") for line in printed.err.splitlines()]
    expected = [
        "2:9: layer has no field 'nam'; did you mean 'name'?",
        "2:38: layer has no field 'bottm'; did you mean 'bottom'?",
        "2:83: convolution_param has no field 'kernel_sise'; did you mean 'kernel_size'?",
        "2:104: pad wants a whole number from 0",
        "3:15: type wants a string in quotes, found 'Pooling'",
        "3:45: pool cannot be 'MAXX'; did you mean MAX?",
        "4:3: layer has no field 'unheard'",
        "4:54: the string opened with ' is not closed on its line",
        "5:13: layer has 'name' twice",
        "6:37: expected ':' after 'kernel_size', found '3'",
        "6:58: loss_weight wants a number, found 'x'",
        "7:1: net has no field 'forse_backward'; did you mean 'force_backward'?",
        "7:22: expected a field of net, found '}'",
    ]
    assert len(said) == len(expected)
    for line, wanted in zip(said, expected, strict=True):
        assert line.startswith(wanted)


def test_solver_is_told_from_a_net_in_one_line(problem, capsys):
    assert main(["check", "solver.prototxt"]) == 2
    assert capsys.readouterr().err == (
        "caffe-compat: solver.prototxt: this is a solver, not a net; give the net that it names\n"
    )


def test_every_unreadable_file_is_named_once(problem, capsys):
    (problem.folder / "w.caffemodel").write_bytes(b"\xa2\x06\x09\x0a")
    problem.write("bad.prototxt", "nam: 1")
    assert main(["check", "bad.prototxt", "absent.prototxt", "net.prototxt", "w.caffemodel"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in lines] == [" absent.prototxt", " bad.prototxt", " w.caffemodel"]
