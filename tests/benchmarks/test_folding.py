"""What folding costs and gives: GoogLeNet folded, exported and checked; a MobileNet before and after, in turns.

Run with `pytest tests/benchmarks/test_folding.py -m benchmark -s`.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
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
SECONDS = 12.0  # for GoogLeNet: fold, write, export, check
GAIN = 1.25  # of a folded MobileNet here
SLACK = 1.05  # of the folded one in runtimes that fold by themselves


def show(what: str, seconds: list[float]) -> float:
    middle = statistics.median(seconds)
    print(f"{what}: {middle * 1e3:.1f} ms (from {min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})")
    return middle


def ratio_in_turns(first: Callable[[], Any], second: Callable[[], Any], rounds: int, title: str) -> float:
    """Run both in turns; the ratio of the medians, first to second."""
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds + 2):
        for each, call in zip(seconds, (first, second), strict=True):
            start = time.perf_counter()
            call()
            each.append(time.perf_counter() - start)
    print(f"\n{title}; {platform.machine()}, {THREADS} threads, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    before, after = (show(name, each[2:]) for name, each in zip(("unfolded", "folded"), seconds, strict=True))
    print(f"ratio of medians {before / after:.3f}")
    return before / after


def test_googlenet_is_folded_exported_and_checked_in_time(tmp_path: Path) -> None:
    """Wall seconds count where the processors are free; beside other work the seconds on them, by two threads."""
    net, weights = (
        str(shared("models", "googlenet", name)) for name in ("deploy.prototxt", "bvlc_googlenet.caffemodel")
    )
    fold = ["deploy", net, "--weights", weights, "--merge-bn", "--out", "d.prototxt", "--out-weights", "d.caffemodel"]
    export = ["export", "d.prototxt", "d.caffemodel", "--out", "d.onnx"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for words in (fold, export):
        command = [sys.executable, "-m", "caffe_compat", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": str(Path(cc.__file__).parents[1])}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    load = os.getloadavg()[0]
    print(f"\n{wall:.1f} s, {busy:.1f} s on the processors, load {load:.1f}; {platform.machine()}, {THREADS} threads")
    assert (wall if load < THREADS else busy) < SECONDS


@pytest.fixture
def mobilenets() -> tuple[cc.Model, cc.Model, dict[str, np.ndarray]]:
    _, model = golden_model("mobilenet_v1_like")
    folded = cc.fold_batch_norm(model)
    data = np.random.default_rng(0).standard_normal(cc.Net(model, "TEST").shapes["data"]).astype(np.float32)
    torch.set_num_threads(THREADS)
    return model, folded, {"data": data}


def test_a_folded_mobilenet_is_faster_here(mobilenets: tuple[cc.Model, cc.Model, dict[str, np.ndarray]]) -> None:
    *models, given = mobilenets
    nets = [cc.Net(model, "TEST").eval() for model in models]
    with torch.no_grad():
        outputs = [next(iter(net(**given).values())) for net in nets]
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
        ratio = ratio_in_turns(lambda: nets[0](**given), lambda: nets[1](**given), 31, f"torch {torch.__version__}")
    assert ratio >= GAIN


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_folded_mobilenet_is_no_slower_in_runtimes_that_fold_themselves(
    mobilenets: tuple[cc.Model, cc.Model, dict[str, np.ndarray]], runtime: str, tmp_path: Path
) -> None:
    package = pytest.importorskip(runtime)
    *models, given = mobilenets
    runs = []
    for name, model in zip(("unfolded", "folded"), models, strict=True):
        path = str(tmp_path / f"{name}.onnx")
        cc.write_onnx(model, path)
        if runtime == "onnxruntime":
            options = package.SessionOptions()
            options.intra_op_num_threads = THREADS
            session = package.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            runs.append(lambda session=session: session.run(None, given))
        else:
            core = package.Core()
            program = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": THREADS})
            runs.append(lambda program=program: program(given))
    assert ratio_in_turns(runs[0], runs[1], 31, f"{runtime} {package.__version__}") >= 1 / SLACK
