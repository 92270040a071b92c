"""`caffe-compat time` prints the lines of `caffe time`, and measures what training computes."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.commands.layer_timer import LayerTimer
from tests.commands.test_test import LOGS, messages


def test_lines_have_the_form_and_order_of_caffes_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shutil.copytree(LOGS, tmp_path / "logs"))
    assert main(["time", "-model", "net.prototxt", "-iterations", "5"]) == 0

    def forms(lines):
        lines = lines[lines.index("Performing Forward") :]
        return [re.sub(r"(: )\S+( ms\.)?$", r"\1N\2", line) for line in lines]

    caffes = (LOGS / "time.log").read_text()
    assert forms(messages(capsys.readouterr().err)) == forms(messages(caffes))


def test_layer_by_layer_gives_the_loss_and_gradients_of_the_whole(problem):
    torch.manual_seed(0)
    net = cc.Net(cc.read_model("net.prototxt"), phase="TRAIN")
    timer = LayerTimer(net)
    loss = timer.forward()
    timer.backward()
    gradients = [param.tensor.grad.clone() for param in net.learnable_params]
    source = net.layers["data"]
    source.seek(0)
    net.zero_grad()
    _, whole = net.forward_with_loss()
    whole.backward()
    assert loss == whole.item()
    for gradient, param in zip(gradients, net.learnable_params, strict=True):
        np.testing.assert_allclose(gradient, param.tensor.grad, rtol=1e-5, atol=1e-7)


def test_every_layer_has_its_time(problem):
    timer = LayerTimer(cc.Net(cc.read_model("net.prototxt"), phase="TRAIN"))
    timer.pass_through()
    forward, backward = (
        {layer.name for layer in seconds if layer} for seconds in (timer.forward_seconds, timer.backward_seconds)
    )
    assert forward == {"data", "conv1", "relu1", "conv2", "ip1", "loss"}
    assert backward == {"conv1", "relu1", "conv2", "ip1", "loss"}


def test_a_deploy_net_is_timed_on_zeros(problem, capsys):
    problem.write(
        "deploy.prototxt",
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }'
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }',
    )
    assert main(["time", "deploy.prototxt", "-iterations", "1", "-phase", "TEST"]) == 0
    assert "relu\tforward: " in capsys.readouterr().err


def test_a_table_has_the_medians_of_passes_and_updates(problem, capsys):
    assert main(["time", "net.prototxt", "-iterations", "3"]) == 0
    rows = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["layer", "forward", "backward", "update"]
    told = {row[0]: [cell != "-" for cell in row[1:]] for row in rows[1:-1]}
    assert told == {
        "data": [True, False, False],
        "conv1": [True, True, True],
        "relu1": [True, True, False],
        "conv2": [True, True, True],
        "ip1": [True, True, True],
        "loss": [True, True, False],
    }
    assert rows[-1][0] == "median ms in all"
    assert all(float(cell) > 0 for cell in rows[-1][1:])


def test_each_round_has_its_seconds_and_the_weights_stay(problem):
    net = cc.Net(cc.read_model("net.prototxt"), phase="TRAIN")
    before = net.weights()
    timer = LayerTimer(net)
    for _ in range(4):
        timer.pass_through()
        timer.update()
    conv1 = net.layers["conv1"]
    for word in ("forward", "backward", "update"):
        assert len(timer.seconds[word][conv1]) == 4
    assert sum(timer.seconds["forward"][conv1]) == pytest.approx(timer.forward_seconds[conv1])
    for layer, blobs in before.items():
        for blob, after in zip(blobs, net.weights()[layer], strict=True):
            np.testing.assert_allclose(after, blob, rtol=0, atol=1e-15)


IN_PLACE = """
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 }
  data_filler { type: "constant" value: 0.5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "s" type: "Sigmoid" bottom: "ip" top: "s" }
layer { name: "b" type: "BNLL" bottom: "s" top: "s" }
layer { name: "loss" type: "Reduction" bottom: "s" top: "loss" loss_weight: 1 }
"""


def test_layers_in_place_are_timed_with_the_gradients_of_the_whole():
    net = cc.Net(cc.parse_text(IN_PLACE, cc.NetParameter), phase="TRAIN")
    assert net.hazards
    timer = LayerTimer(net)
    timer.forward()
    timer.backward()
    found = [param.tensor.grad.clone() for param in net.learnable_params]
    net.zero_grad()
    net.forward_with_loss()[1].backward()
    for first, param in zip(found, net.learnable_params, strict=True):
        assert torch.equal(first, param.tensor.grad)
    assert net.layers["b"] in timer.backward_seconds


def test_in_place_right_holds_for_every_net_of_a_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(IN_PLACE)
    assert main(["show", "net.prototxt", "--code"]) == 0
    assert "in_place_keep" in capsys.readouterr().out
    assert main(["show", "net.prototxt", "--code", "--in-place", "right"]) == 0
    assert "in_place_keep" not in capsys.readouterr().out
    assert main(["time", "net.prototxt", "--iterations", "1", "--in-place", "right"]) == 0


def test_json_has_the_medians_of_every_layer(problem, capsys):
    assert main(["time", "net.prototxt", "--iterations", "2", "--json"]) == 0
    rows = {row["layer"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["conv2"]["forward"] > 0 and rows["conv2"]["update"] > 0 and rows["data"]["backward"] is None


def test_weights_are_those_of_the_net_that_is_timed(problem, capsys):
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", net.param, net.weights())
    words = ["time", "net.prototxt", "--iterations", "1", "--warm-up", "0", "--weights"]
    assert main([*words, "w.caffemodel"]) == 0
    cc.write_net("other.caffemodel", net.param, {"conv1": (np.ones((6, 1, 5, 5), np.float32),)})
    assert main([*words, "other.caffemodel"]) == 2
    assert "layer 'conv1'" in capsys.readouterr().err.splitlines()[-1]
    assert main([*words, "w.caffemodel", "--compare", "net.prototxt", "net.prototxt"]) == 2
    assert "--weights are of one net" in capsys.readouterr().err.splitlines()[-1]
