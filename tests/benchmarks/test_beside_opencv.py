"""Loading and running GoogLeNet beside OpenCV's Caffe importer: the same files, in turns, as many threads each.

Run with `pytest tests/benchmarks/test_beside_opencv.py -m benchmark -s`.
"""

from __future__ import annotations

import platform
import statistics
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe_compat as cc
from tests.benchmarks.test_load_caffemodel import alexnet  # noqa: F401
from tests.conftest import shared

cv2 = pytest.importorskip("cv2")
pytestmark = pytest.mark.benchmark

THREADS = 2
SLACK = 1.1  # how much slower than OpenCV the median may be on a machine that others use too
TRAIN_NET = "BVLC__caffe/@9b891540/models/bvlc_googlenet/train_val.prototxt"


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> float:
    """Run both in turns, print their medians and spreads; the ratio of the medians, ours to theirs."""
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    seconds: dict[str, list[float]] = {"caffe_compat": [], "OpenCV": []}
    for _ in range(rounds + 2):
        for name, call in (("caffe_compat", ours), ("OpenCV", theirs)):
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    print(
        f"\n{platform.processor() or platform.machine()}, {THREADS} threads, torch {torch.__version__}, "
        f"OpenCV {cv2.__version__}, {rounds} rounds"
    )
    for name, each in seconds.items():
        del each[:2]  # the first ones set caches up
        print(f"{name}: {statistics.median(each) * 1e3:.1f} ms (from {min(each) * 1e3:.1f} to {max(each) * 1e3:.1f})")
    ratio = statistics.median(seconds["caffe_compat"]) / statistics.median(seconds["OpenCV"])
    print(f"ratio of medians {ratio:.2f}")
    return ratio


def test_googlenet_is_read_no_slower_than_by_opencv() -> None:
    paths = [str(shared("models", "googlenet", name)) for name in ("deploy.prototxt", "bvlc_googlenet.caffemodel")]
    blobs = cc.read_model(*paths).weights["conv1/7x7_s2"]
    net = cv2.dnn.readNetFromCaffe(*paths)
    np.testing.assert_array_equal(net.getParam("conv1/7x7_s2", 0), blobs[0])
    assert in_turns(lambda: cc.read_model(*paths), lambda: cv2.dnn.readNetFromCaffe(*paths), 21) < SLACK


def test_alexnet_of_240_megabytes_is_read_no_slower_than_by_opencv(alexnet: Any, tmp_path: Path) -> None:  # noqa: F811
    path, weights = alexnet
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 227 dim: 227 } } }'
    bottom = "data"
    for name, (weight, _) in weights.items():
        layer = f'layer {{ name: "{name}" bottom: "{bottom}" top: "{name}"'
        bottom = name
        if weight.ndim == 4:
            group = 1 if name in ("conv1", "conv3") else 2
            kernel = f"num_output: {len(weight)} kernel_size: {weight.shape[2]} group: {group}"
            text += f'{layer} type: "Convolution" convolution_param {{ {kernel} }} }}'
        else:
            text += f'{layer} type: "InnerProduct" inner_product_param {{ num_output: {len(weight)} }} }}'
    net = tmp_path / "net.prototxt"
    net.write_text(text)
    found = cc.read_model(net, path).weights
    assert all(np.array_equal(found[name][0], each[0]) for name, each in weights.items())
    ratio = in_turns(lambda: cc.read_model(net, path), lambda: cv2.dnn.readNetFromCaffe(str(net), str(path)), 9)
    assert ratio < SLACK


@pytest.mark.parametrize("batch", [1, 8])
def test_googlenet_runs_no_slower_than_in_opencv(batch: int) -> None:
    paths = [str(shared("models", "googlenet", name)) for name in ("deploy.prototxt", "bvlc_googlenet.caffemodel")]
    images = np.random.default_rng(0).uniform(-120, 120, (batch, 3, 224, 224)).astype(np.float32)
    net, other = cc.Net(cc.read_model(*paths), input_shapes={"data": images.shape}), cv2.dnn.readNetFromCaffe(*paths)

    def ours() -> np.ndarray:
        with torch.no_grad():
            return np.asarray(net(data=images)["prob"])

    def theirs() -> np.ndarray:
        other.setInput(images, "data")
        return np.asarray(other.forward())

    np.testing.assert_allclose(ours(), theirs(), atol=1e-5)  # of probabilities, whose largest is 1
    assert in_turns(ours, theirs, 21 if batch == 1 else 9) < SLACK


def test_the_train_net_of_googlenet_is_built_in_under_a_second(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_bytes(zipfile.ZipFile(shared("prototxt", "prototxt.zip")).read(TRAIN_NET))
    param = cc.read_net(tmp_path / "net.prototxt")
    shapes = {"data": (32, 3, 224, 224), "label": (32,)}
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        net = cc.Net(param, phase="TRAIN", input_shapes=shapes)
        seconds.append(time.perf_counter() - start)
    assert sum(blob.numel() for blobs in net.params.values() for blob in blobs) == 13_378_280
    print(f"\nbuilt in {statistics.median(seconds):.3f} s (from {min(seconds):.3f} to {max(seconds):.3f})")
    assert statistics.median(seconds) < 1
