"""The drop-in against what it stands on: passes and construction of cc.Net, iterations of cc.Solver.

Both sides compute the same in turns on one thread, so that whatever else the machine does meets both alike; the figure
is the ratio of the medians of processor time.

Run: OMP_NUM_THREADS=1 python -m pytest -m benchmark -s tests/benchmarks/test_pycaffe.py
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe_compat as cc
import caffe_compat.pycaffe as caffe
from tests.benchmarks.test_cifar10_full_iteration import CIFAR10_FULL
from tests.conftest import golden

pytestmark = pytest.mark.benchmark
ROUNDS, WARM_UP = 21, 3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _ratio(title: str, ours: Callable[[], Any], base: Callable[[], Any], rounds: int = ROUNDS) -> float:
    seconds: dict[str, list[float]] = {"drop-in": [], "base": []}
    for turn in range(WARM_UP + rounds):
        for name, side in (("drop-in", ours), ("base", base)):
            start = time.process_time()
            side()
            if turn >= WARM_UP:
                seconds[name].append(time.process_time() - start)
    pairs = sorted(a / b for a, b in zip(seconds["drop-in"], seconds["base"], strict=True))
    low, _, high = statistics.quantiles(pairs, n=4)
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    found = middle["drop-in"] / middle["base"]
    print(
        f"\n{title}: {1e3 * middle['drop-in']:.2f} and {1e3 * middle['base']:.2f} ms, ratio {found:.3f} "
        f"({low:.3f} to {high:.3f}); torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    )
    return found


def _net_files(tmp_path: Path, name: str, batch: int) -> str:
    if name == "cifar10_full":
        text = CIFAR10_FULL
    else:
        text = golden("nets", "googlenet_deploy.prototxt").read_text().replace("dim: 1 dim: 3", f"dim: {batch} dim: 3")
        text = "force_backward: true\n" + text
    (tmp_path / "net.prototxt").write_text(text)
    return str(tmp_path / "net.prototxt")


def _forced(path: str) -> str:
    """A net that gives the gradient of its data too."""
    forced = Path(path).with_name("forced.prototxt")
    forced.write_text("force_backward: true\n" + Path(path).read_text())
    return str(forced)


@pytest.mark.parametrize(("name", "batch"), [("googlenet", 1), ("googlenet", 8), ("cifar10_full", 100)])
def test_passes_take_at_most_a_tenth_longer_than_those_of_net(name: str, batch: int, tmp_path: Path) -> None:
    path = _net_files(tmp_path, name, batch)
    phase = "TEST" if name == "googlenet" else "TRAIN"
    net, live = cc.Net(path, phase), caffe.Net(path, getattr(caffe, phase))
    random, file = np.random.default_rng(0), str(tmp_path / "w.caffemodel")
    for weights, *_ in live.params.values():
        weights.data[...] = random.standard_normal(weights.data.shape, np.float32) * weights.data[0].size ** -0.5
    live.save(file)
    net.load_weights(cc.read_model(path, file).weights)
    shape = live.blobs["data"].data.shape
    given = {"data": random.standard_normal(shape, np.float32)}
    if "label" in live.blobs:
        given["label"] = np.arange(batch, dtype=np.float32) % 10
    for blob, values in given.items():
        live.blobs[blob].data[...] = values
    tensors = {blob: torch.from_numpy(values) for blob, values in given.items()}
    top = net.output_names[0]

    def forward() -> None:
        with torch.no_grad():
            net(**tensors)

    live.forward()
    with torch.no_grad():
        np.testing.assert_allclose(live.blobs[top].data, net(**tensors)[top], rtol=1e-4, atol=1e-6)
    last = len(live.layers) - 1
    if name == "googlenet":  # a net that learns keeps what backward needs, on either side
        frozen = Path(path).read_text().removeprefix("force_backward: true\n")
        Path(path).write_text(frozen)
        still = caffe.Net(path, caffe.TEST, weights=file)
        still.blobs["data"].data[...] = given["data"]
        assert _ratio(f"{name}, batch {batch}, forward", lambda: still._forward(0, last), forward) <= 1.10
    forced = _forced(path) if name == "googlenet" else path
    looked_at, live = live, caffe.Net(forced, getattr(caffe, phase), weights=file)
    for blob, values in given.items():
        live.blobs[blob].data[...] = values
    inputs = {blob: each.clone() for blob, each in tensors.items()}
    inputs["data"].requires_grad_(name == "googlenet")
    seed = torch.ones(live.blobs[top].data.shape)
    if name == "googlenet":
        live.blobs[top].diff[...] = looked_at.blobs[top].diff[...] = 1

    def both_of_net() -> None:
        for parameter in net.parameters():
            parameter.grad = None
        outputs, loss = net.forward_with_loss(**inputs)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            outputs[top].backward(seed)  # type: ignore[no-untyped-call]

    def both_live(of: Any) -> None:
        of.clear_param_diffs()
        of._forward(0, last)
        of._backward(last, 0)

    title = f"{name}, batch {batch}, forward and backward"
    assert _ratio(f"{title}, weights looked at", lambda: both_live(looked_at), both_of_net) <= 1.10
    assert _ratio(title, lambda: both_live(live), both_of_net) <= 1.10


def _solver_files(tmp_path: Path, name: str) -> str:
    """A solver whose data are drawn once, so that both sides see the same and read no file."""
    if name == "cifar10_full":
        net = CIFAR10_FULL.replace('type: "Input"', 'type: "DummyData"').replace("input_param", "dummy_data_param")
        net = net.replace("shape { dim: 100 } }", 'shape { dim: 100 } data_filler { type: "constant" value: 0.5 } '
                          'data_filler { type: "constant" value: 1 } }')  # fmt: skip
    else:
        net = _resnet()
    (tmp_path / "net.prototxt").write_text(net)
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path}/net.prototxt" base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.004 '
        f'random_seed: 1 snapshot_after_train: false snapshot_prefix: "{tmp_path}/s"\n'
    )
    return str(tmp_path / "solver.prototxt")


def _resnet(batch: int = 32) -> str:
    """ResNet-20 for CIFAR-10: BatchNorm, Scale and ReLU in place behind every convolution."""
    parts = [
        'layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param { '
        f"shape {{ dim: {batch} dim: 3 dim: 32 dim: 32 }} shape {{ dim: {batch} }} "
        'data_filler { type: "constant" value: 0.5 } data_filler { type: "constant" value: 1 } } }'
    ]

    def convolution(name: str, bottom: str, outputs: int, stride: int, kernel: int = 3, relu: bool = True) -> str:
        parts.append(
            f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
            f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} stride: {stride} bias_term: false "
            'weight_filler { type: "msra" } } }'
            f'layer {{ name: "{name}_bn" type: "BatchNorm" bottom: "{name}" top: "{name}" }}'
            f'layer {{ name: "{name}_s" type: "Scale" bottom: "{name}" top: "{name}" '
            "scale_param { bias_term: true } }"
        )
        if relu:
            parts.append(f'layer {{ name: "{name}_r" type: "ReLU" bottom: "{name}" top: "{name}" }}')
        return name

    bottom = convolution("c0", "data", 16, 1)
    for stage, outputs in enumerate((16, 32, 64)):
        for block in range(3):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            inner = convolution(f"{name}a", bottom, outputs, stride)
            inner = convolution(f"{name}b", inner, outputs, 1, relu=False)
            if stride == 2:
                bottom = convolution(f"{name}p", bottom, outputs, 2, 1, relu=False)
            parts.append(
                f'layer {{ name: "{name}" type: "Eltwise" bottom: "{inner}" bottom: "{bottom}" top: "{name}" }}'
                f'layer {{ name: "{name}_r" type: "ReLU" bottom: "{name}" top: "{name}" }}'
            )
            bottom = name
    parts.append(
        f'layer {{ name: "pool" type: "Pooling" bottom: "{bottom}" top: "pool" '
        "pooling_param { pool: AVE global_pooling: true } }"
        'layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 10 '
        'weight_filler { type: "xavier" } } }'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    )
    return "\n".join(parts)


@pytest.mark.parametrize("name", ["cifar10_full", "resnet20"])
def test_iterations_take_at_most_a_twentieth_longer_than_those_of_solver(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _solver_files(tmp_path, name)
    with monkeypatch.context() as without:
        # a pass that keeps every blob normalizes in torch, others in one loop: its roundings turn ReLUs of ResNet-20
        without.setenv("CAFFE_COMPAT_KERNELS", "off")
        solver, live = cc.Solver(path), caffe.SGDSolver(path)
        weights = solver.net.weights()
        for layer, blobs in live.net.params.items():
            for blob, values in zip(blobs, weights[layer], strict=True):
                blob.data[...] = values
        solver.step(2)
        live.step(2)
        for layer, blobs in live.net.params.items():
            np.testing.assert_allclose(blobs[0].data, solver.net.params[layer][0].detach(), rtol=1e-3, atol=1e-5)
    solver, plain = cc.Solver(path), caffe.SGDSolver(path)  # of which nothing was read
    assert _ratio(f"{name}, an iteration", lambda: plain.step(1), lambda: solver.step(1)) <= 1.05


@pytest.mark.parametrize("name", ["googlenet_deploy", "alexnet"])
def test_construction_takes_at_most_a_fifth_longer_than_that_of_net(name: str) -> None:
    path = str(golden("nets", f"{name}.prototxt"))
    assert _ratio(f"{name}, built", lambda: caffe.Net(path, caffe.TEST), lambda: cc.Net(path), 7) <= 1.2


def test_an_input_that_a_script_writes_is_copied_once_at_most(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(CIFAR10_FULL)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    a = np.random.default_rng(0).standard_normal((100, 3, 32, 32)).astype(np.float32)
    net.forward()
    before = net.blobs["data"]._data.edits
    net.blobs["data"].data[...] = a
    net.forward()
    assert net.blobs["data"]._data.edits - before <= 1  # each edit that is found is one copy
