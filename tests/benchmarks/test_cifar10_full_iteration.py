"""Time of a cifar10_full training iteration against its convolutions and inner product alone.

Both sides compute a batch of 100 on two threads, in turns, so that whatever else the machine does meets both alike; the
figure is the ratio of the medians. Convolutions alone: forward and backward of each of the three with its own input and
top gradient, conv1 without a gradient for the data, in the faster of torch's two layouts. The other side is the net's
forward and backward, or the solver's whole iteration: a batch from an LMDB, forward, backward, decay, force, update.

Run: OMP_NUM_THREADS=2 python -m pytest -m benchmark -s tests/benchmarks/test_cifar10_full_iteration.py
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import caffe_compat as cc
from caffe_compat.net.memory import keep_freed_memory
from caffe_compat.proto.schema import LayerParameter, NetParameter, SolverParameter
from caffe_compat.proto.text import parse_text

ROUNDS = 40
WARM_UP = 5
LIMIT = 1.35

CIFAR10_FULL = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 100 dim: 3 dim: 32 dim: 32 } shape { dim: 100 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 32 pad: 2 kernel_size: 5 weight_filler { type: "gaussian" std: 0.05 } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "pool1" top: "pool1" }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
  lrn_param { local_size: 3 alpha: 5e-05 beta: 0.75 norm_region: WITHIN_CHANNEL } }
layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
  convolution_param { num_output: 32 pad: 2 kernel_size: 5 weight_filler { type: "gaussian" std: 0.03 } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "norm2" type: "LRN" bottom: "pool2" top: "norm2"
  lrn_param { local_size: 3 alpha: 5e-05 beta: 0.75 norm_region: WITHIN_CHANNEL } }
layer { name: "conv3" type: "Convolution" bottom: "norm2" top: "conv3"
  convolution_param { num_output: 64 pad: 2 kernel_size: 5 weight_filler { type: "gaussian" std: 0.03 } } }
layer { name: "relu3" type: "ReLU" bottom: "conv3" top: "conv3" }
layer { name: "pool3" type: "Pooling" bottom: "conv3" top: "pool3"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool3" top: "ip1"
  inner_product_param { num_output: 10 weight_filler { type: "gaussian" std: 0.05 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" top: "loss" }
"""


@pytest.mark.benchmark
def test_a_training_iteration_costs_little_more_than_its_convolutions() -> None:
    keep_freed_memory()  # as the solver does; the convolutions alone fault no page either way
    torch.manual_seed(0)
    net = cc.Net(parse_text(CIFAR10_FULL, NetParameter), phase="TRAIN")
    data, label = torch.randn(100, 3, 32, 32), torch.randint(0, 10, (100,))
    parameters = [blob for blobs in net.params.values() for blob in blobs]

    def iteration() -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        _, loss = net.forward_with_loss(data=data, label=label.float())
        loss.backward()
        return loss

    def plain_iteration(layout: torch.memory_format) -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        loss = _plain_loss(net.params, data.contiguous(memory_format=layout), label)
        loss.backward()
        return loss

    plain = partial(plain_iteration, torch.contiguous_format)
    _assert_equal_results(iteration, plain, parameters)
    sides = {
        "net": iteration,
        "convolutions, channels_last": _convolutions_alone(net.params, data, torch.channels_last),
        "convolutions, contiguous": _convolutions_alone(net.params, data, torch.contiguous_format),
        "plain torch": plain,
        "plain torch, channels_last": partial(plain_iteration, torch.channels_last),
    }
    seconds = _interleaved(sides)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    base = min((name for name in sides if name.startswith("convolutions")), key=medians.__getitem__)
    _report(seconds, base)
    assert medians["net"] <= LIMIT * medians[base]


@pytest.mark.benchmark
def test_a_solver_iteration_with_data_and_force_costs_little_more_than_its_convolutions(tmp_path: Path) -> None:
    solver = cc.Solver(_forced_solver(tmp_path))
    data = torch.randn(100, 3, 32, 32)
    sides = {
        "solver": partial(solver.step, 1),
        "convolutions, channels_last": _convolutions_alone(solver.net.params, data, torch.channels_last),
        "convolutions, contiguous": _convolutions_alone(solver.net.params, data, torch.contiguous_format),
    }
    seconds = _interleaved(sides)
    assert solver.iteration == WARM_UP + ROUNDS and math.isfinite(solver.loss) and solver.has_force
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    base = min((name for name in sides if name.startswith("convolutions")), key=medians.__getitem__)
    _report(seconds, base)
    assert medians["solver"] <= LIMIT * medians[base]


def _forced_solver(folder: Path) -> Any:
    """A solver for the net above, its batches from an LMDB of 10,000 made-up images, as many as CIFAR-10's test set."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (10_000, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 10, 10_000).tolist()
    records = ((b"%05d" % i, cc.encode_datum(image, labels[i])) for i, image in enumerate(images))
    cc.write_lmdb(folder / "train_lmdb", records)
    net = parse_text(CIFAR10_FULL, NetParameter)
    for layer in net.layer:
        if layer.type == "Convolution":
            layer.param.add(force_mult=1)
    source = f"""name: "data" type: "Data" top: "data" top: "label" transform_param {{ mean_value: 120 scale: 0.02 }}
      data_param {{ source: "{folder / "train_lmdb"}" batch_size: 100 backend: LMDB }}"""
    net.layer[0].CopyFrom(parse_text(source, LayerParameter))
    fields = """base_lr: 0.001 momentum: 0.9 weight_decay: 0.004 lr_policy: "fixed" max_iter: 1000
      force_type: "Constant" force_decay: 0.001 snapshot_after_train: false"""
    solver = parse_text(fields, SolverParameter)
    solver.net_param.CopyFrom(net)
    return solver


def _plain_loss(params: dict[str, list[torch.nn.Parameter]], data: Tensor, label: Tensor) -> Tensor:
    """The same net in ordinary torch calls, as one would write it from the prototxt."""

    def norm(x: Tensor) -> Tensor:
        return x * (1 + 5e-5 * F.avg_pool2d(x * x, 3, 1, 1)) ** -0.75

    x = F.relu(F.max_pool2d(F.conv2d(data, *params["conv1"], padding=2), 3, 2, ceil_mode=True))
    x = F.avg_pool2d(F.relu(F.conv2d(norm(x), *params["conv2"], padding=2)), 3, 2, ceil_mode=True)
    x = F.avg_pool2d(F.relu(F.conv2d(norm(x), *params["conv3"], padding=2)), 3, 2, ceil_mode=True)
    return F.cross_entropy(F.linear(x.flatten(1), *params["ip1"]), label)


def _convolutions_alone(
    params: dict[str, list[torch.nn.Parameter]], data: Tensor, layout: torch.memory_format
) -> Callable[[], None]:
    """Forward and backward of the four layers with weights, nothing between them."""
    inputs = [data, torch.randn(100, 32, 16, 16), torch.randn(100, 32, 8, 8)]
    inputs = [value.contiguous(memory_format=layout).requires_grad_(i > 0) for i, value in enumerate(inputs)]
    weights = [[blob.detach().clone() for blob in params[name]] for name in ("conv1", "conv2", "conv3")]
    weights = [[w.contiguous(memory_format=layout).requires_grad_(), b.requires_grad_()] for w, b in weights]
    vector, matrix = torch.randn(100, 1024, requires_grad=True), params["ip1"]
    with torch.no_grad():
        gradients = [torch.randn_like(F.conv2d(x, *w, padding=2)) for x, w in zip(inputs, weights, strict=True)]
    last = torch.randn(100, 10)
    leaves = [*inputs[1:], vector, *(blob for pair in weights for blob in pair), *matrix]

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        tops = [F.conv2d(x, *w, padding=2) for x, w in zip(inputs, weights, strict=True)]
        torch.autograd.backward([*tops, F.linear(vector, *matrix)], [*gradients, last])

    return run


def _assert_equal_results(
    ours: Callable[[], Tensor], plain: Callable[[], Tensor], parameters: list[torch.nn.Parameter]
) -> None:
    """Equal loss and gradients.

    The loss within 1e-6, which float32 sums in different order allow; the gradients within 1e-3 of their largest
    value, since an ReLU or a maximum may fall either way where two values nearly tie.
    """
    results = []
    for side in (ours, plain):
        loss = side().detach()
        results.append([loss, *(parameter.grad for parameter in parameters)])
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-6, atol=0)
    for mine, theirs in zip(*results, strict=True):
        assert (mine - theirs).abs().max() <= 1e-3 * theirs.abs().max()


def _interleaved(sides: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(WARM_UP + ROUNDS):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _report(seconds: dict[str, list[float]], base: str) -> None:
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads"
    print(f"\n{machine}, torch {torch.__version__}, {ROUNDS} rounds")
    print(f"ratio to '{base}': of the medians (and the quartiles over the rounds)")
    middle = statistics.median(seconds[base])
    for name, times in seconds.items():
        ratios = sorted(a / b for a, b in zip(times, seconds[base], strict=True))
        quartiles = statistics.quantiles(ratios, n=4)
        print(
            f"{name:30} median {1e3 * statistics.median(times):7.2f} ms, least {1e3 * min(times):7.2f} ms, "
            f"ratio {statistics.median(times) / middle:5.3f} ({quartiles[0]:.3f} to {quartiles[2]:.3f})"
        )
