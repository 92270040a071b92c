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
