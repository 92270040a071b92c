"""`caffe-compat time` prints the lines of `caffe time`, and measures what training computes."""

import re
import shutil

import numpy as np
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.commands.time import LayerTimer
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
    assert set(timer.forward_seconds) - {""} == {"data", "conv1", "relu1", "conv2", "ip1", "loss"}
    assert set(timer.backward_seconds) - {""} == {"conv1", "relu1", "conv2", "ip1", "loss"}


def test_a_deploy_net_is_timed_on_zeros(problem, capsys):
    problem.write(
        "deploy.prototxt",
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }'
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }',
    )
    assert main(["time", "deploy.prototxt", "-iterations", "1", "-phase", "TEST"]) == 0
    assert "relu\tforward: " in capsys.readouterr().err
