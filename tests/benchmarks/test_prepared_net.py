"""Inference by a prepared net beside the plain net and OpenVINO: the same weights and images, in turns.

Run with `pytest tests/benchmarks/test_prepared_net.py -m benchmark -s`; OpenVINO where it is installed (2026.4 was).
"""

from __future__ import annotations

import importlib.util
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe_compat as cc
from tests.conftest import shared
from tests.export.onnx.test_model import golden_model

pytestmark = pytest.mark.benchmark

THREADS = 2
MODELS = {
    "googlenet": ("deploy.prototxt", "bvlc_googlenet.caffemodel"),
    "cifar10_full_h5": ("cifar10_full.prototxt", "cifar10_full_iter_100000.caffemodel.h5"),
}
BESIDE_OPENVINO = {("googlenet", 1): 1.05, ("googlenet", 8): 0.95}  # most that ours may take of its time


def medians(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of every call, median of `rounds` in which they take turns; printed."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    print(f"\n{platform.processor() or platform.machine()}, {THREADS} threads, torch {torch.__version__}")
    for name, each in seconds.items():
        del each[:2]  # the first ones set caches up
        print(f"{name}: {statistics.median(each) * 1e3:.2f} ms (from {min(each) * 1e3:.2f} to {max(each) * 1e3:.2f})")
    return {name: statistics.median(each) for name, each in seconds.items()}


def openvino_of(net: cc.Net, model: cc.Model, folder: Path) -> Callable[[np.ndarray], np.ndarray] | None:
    """What OpenVINO computes of the exported net, in float32 on as many threads; None where it is not installed."""
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    path = folder / "net.onnx"
    shapes = {name: net.shapes[name] for name in net.input_names}
    cc.write_onnx(model, path, input_shapes=shapes)
    settings = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    print(f"OpenVINO {openvino.__version__}")
    return lambda images: np.asarray(request.infer([images])[compiled.output(0)])


@pytest.mark.parametrize(("folder", "batch"), [("googlenet", 1), ("googlenet", 8), ("cifar10_full_h5", 1)])
def test_a_prepared_net_is_faster_than_the_net(folder: str, batch: int, tmp_path: Path) -> None:
    torch.set_num_threads(THREADS)
    model = cc.read_model(*(shared("models", folder, name) for name in MODELS[folder]))
    plain = cc.Net(model)
    shape = (batch, *plain.shapes["data"][1:])
    plain = cc.Net(model, input_shapes={"data": shape})
    prepared = plain.prepare()
    images = np.random.default_rng(0).uniform(-120, 120, shape).astype(np.float32)
    calls: dict[str, Callable[[], Any]] = {
        "net": lambda: torch.no_grad()(plain)(data=images)["prob"].numpy(),
        "prepared": lambda: prepared(data=images)["prob"].numpy(),
    }
    runtime = openvino_of(plain, model, tmp_path)
    if runtime is not None:
        calls["OpenVINO"] = lambda: runtime(images)
        np.testing.assert_allclose(calls["OpenVINO"](), calls["net"](), atol=1e-5)  # of probabilities
        there = plain.prepare(backend="openvino")
        calls["backend openvino"] = lambda: there(data=images)["prob"].numpy()
    found = medians(calls, 31 if batch == 1 else 9)
    print(f"net / prepared {found['net'] / found['prepared']:.2f}")
    assert found["prepared"] < found["net"]
    if runtime is not None:
        print(f"backend openvino / OpenVINO {found['backend openvino'] / found['OpenVINO']:.2f}")
        ratio = found["prepared"] / found["OpenVINO"]
        print(f"prepared / OpenVINO {ratio:.2f}")
        assert ratio <= BESIDE_OPENVINO.get((folder, batch), 1.0)


def of_golden(name: str, batch: int = 1) -> tuple[cc.Model, tuple[int, ...]]:
    """A net of tests/golden/nets with its weights, and the shape of a batch for it."""
    _, model = golden_model(name)
    return model, (batch, *cc.Net(model).shapes["data"][1:])


def of_mtcnn(name: str, shape: tuple[int, ...]) -> tuple[cc.Model, tuple[int, ...]]:
    return cc.read_model(*(shared("models", "mtcnn", f"{name}.{end}") for end in ("prototxt", "caffemodel"))), shape


OTHERS: dict[str, Callable[[], tuple[cc.Model, tuple[int, ...]]]] = {
    "AlexNet": lambda: of_golden("alexnet"),
    "SqueezeNet 1.1": lambda: of_golden("squeezenet_v1_1"),
    "ResNet-20": lambda: of_golden("resnet20_cifar_deploy"),
    "MobileNet-like": lambda: of_golden("mobilenet_v1_like"),
    "MTCNN's PNet at 217x333": lambda: of_mtcnn("det1", (1, 3, 217, 333)),
    "MTCNN's RNet, 17 faces": lambda: of_mtcnn("det2", (17, 3, 24, 24)),
    "MTCNN's ONet, 5 faces": lambda: of_mtcnn("det3", (5, 3, 48, 48)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_nets_are_no_slower_prepared(name: str) -> None:
    torch.set_num_threads(THREADS)
    model, shape = OTHERS[name]()
    plain = cc.Net(model, input_shapes={"data": shape})
    prepared = plain.prepare()
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    with torch.no_grad():
        for output, value in plain(data=images).items():
            prepared(data=images)
            np.testing.assert_allclose(prepared(data=images)[output], value, atol=1e-5 * float(value.abs().max()))
    found = medians({"net": lambda: torch.no_grad()(plain)(data=images), "prepared": lambda: prepared(data=images)}, 31)
    print(f"{name}, batch {shape[0]}: net / prepared {found['net'] / found['prepared']:.2f}")
    assert found["prepared"] <= found["net"]


@pytest.mark.parametrize("batch", [1, 8])
def test_a_decomposed_googlenet_is_faster_than_the_dense_one_both_prepared(batch: int) -> None:
    torch.set_num_threads(THREADS)
    folder = shared("models", "googlenet")
    dense = cc.read_model(folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel")
    shape = {"data": (batch, 3, 224, 224)}
    images = np.random.default_rng(0).uniform(-120, 120, shape["data"]).astype(np.float32)
    models = {"dense": dense} | {
        f"{keep:.0%} of the energy": cc.decompose(dense, cc.ranks_by_energy(dense, keep=keep)) for keep in (0.95, 0.9)
    }
    nets = {name: cc.Net(model, input_shapes=shape).prepare() for name, model in models.items()}
    calls = {name: lambda net=net: net(data=images) for name, net in nets.items()}
    found = medians(calls, 31 if batch == 1 else 9)
    for name in [*models][1:]:
        print(f"GoogLeNet, batch {batch}: dense / {name} {found['dense'] / found[name]:.2f}")
    assert found["90% of the energy"] < found["dense"]
