"""Nets and files that a real Caffe ran, logged and wrote, through Net."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from caffe_compat.net.build import loss_weights
from caffe_compat.net.net import Net
from caffe_compat.proto.model import read_model, read_net
from tests.conftest import golden

TOLERANCE = 1e-5  # of the largest value, as README-layers.md has it for tops


@pytest.mark.parametrize("log", ["train", "test", "time"])
def test_shapes_and_loss_weights_are_those_that_caffe_logged(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(golden("formats", "logs"))
    lines = re.findall(r"net\.cpp:\d+\] +(.*)", golden("formats", "logs", f"{log}.log").read_text())
    wanted = [line for line in lines if re.match("Setting up|Top shape|with loss weight|Memory required", line)]
    phases = {"test": ["TEST"], "time": ["TRAIN"]}.get(log, ["TRAIN", "TEST"])
    net = read_net("net.prototxt")
    assert [line for phase in phases for line in _logged(Net(net, phase))] == wanted


def _logged(net: Net) -> list[str]:
    """What Caffe's log says while layers are set up: "20 5 6 6 (3600)" is a shape and its count."""
    lines = []
    values = 0
    for node in net.graph.nodes:
        lines.append(f"Setting up {node.name}")
        for top, weight in zip(node.tops, loss_weights(node, net.layers[node.name]), strict=True):
            shape = net.shapes[top.name]
            values += int(np.prod(shape))
            lines.append("Top shape: " + "".join(f"{size} " for size in shape) + f"({int(np.prod(shape))})")
            lines += [f"with loss weight {weight:g}"] if weight else []
        lines.append(f"Memory required for data: {4 * values}")
    return lines


@pytest.mark.parametrize("form", ["caffemodel", "caffemodel.h5"])
def test_a_saved_net_gives_the_tops_that_caffe_gave(form: str) -> None:
    folder = golden("formats", "caffemodel")
    expected = np.load(folder / "expected.npz")
    net = Net(read_model(folder / "net.prototxt", folder / f"net.{form}"), compat="wen2017")
    every = net.blobs(x=expected["bottom_x"])
    for blob in ("c", "ip1", "ip2", "loss"):
        _assert_close(every[blob], expected[f"top_{blob}"])


@pytest.mark.parametrize(
    "name", ["v0", "v0.upgraded", "v1", "v1.upgraded", "v1_noinput", "v1_noinput.upgraded", "v2_legacy_blobs"]
)
def test_old_files_load_and_give_the_tops_that_caffe_gave(name: str) -> None:
    folder = golden("formats", "upgrade_binary")
    expected = np.load(folder / "expected.npz")
    net = Net(read_model(folder / "deploy.prototxt", folder / f"{name}.caffemodel"), compat="wen2017")
    every = net.blobs(data=expected["bottom_data"])
    for blob in ("ip", "prob"):
        _assert_close(every[blob], expected[f"top_{blob}"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_net_on_a_gpu_gives_what_it_gives_on_the_cpu() -> None:
    net = Net(read_net(golden("nets", "lenet.prototxt")), "TRAIN")
    with torch.no_grad():
        for param in net.learnable_params:
            param.tensor.normal_(std=0.05)
    inputs = {"data": torch.randn(5, 1, 28, 28), "label": torch.arange(5.0)}
    _, wanted = net.forward_with_loss(**inputs)
    _, found = net.cuda().forward_with_loss(**inputs)
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-3, atol=1e-4)  # TF32 and other orders of summation


def _assert_close(found: torch.Tensor, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found.detach().numpy() - wanted).max() <= TOLERANCE * np.abs(wanted).max()
