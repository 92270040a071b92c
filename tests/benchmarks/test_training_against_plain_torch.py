"""Whole training iterations against the same net trained by a plain PyTorch loop, written by hand to be fast.

Both sides compute in turns on two threads. Ours: Solver.step(1), with its batch from an LMDB by the prefetching thread,
log and state included. Plain: a batch of a uint8 tensor in memory, the mean taken off, channels_last input and weights,
in-place ReLUs, batch_norm with its affine part, torch.optim.SGD with foreach, and nothing else.
The update's share is that of clip, decay, force and update in an iteration of cifar10_full with force.

Run: OMP_NUM_THREADS=2 python -m pytest -m benchmark -s tests/benchmarks/test_training_against_plain_torch.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import caffe_compat as cc
from caffe_compat.proto.schema import NetParameter, SolverParameter
from caffe_compat.proto.text import parse_text
from tests.benchmarks.test_cifar10_full_iteration import CIFAR10_FULL, _forced_solver, _interleaved, _report

UPDATE_SHARE = 0.025  # of an iteration, wanted
WANTED = 0.85  # of the plain loop's time
SOLVER = """base_lr: 0.001 momentum: 0.9 weight_decay: 0.004 lr_policy: "fixed" max_iter: 100000 display: 100
  snapshot_after_train: false"""


class PlainCifar10Full(nn.Module):
    """cifar10_full as one would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 32, 5, padding=2), nn.Conv2d(32, 32, 5, padding=2)
        self.conv3, self.ip1 = nn.Conv2d(32, 64, 5, padding=2), nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.relu(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True), inplace=True))
        x = self.norm(F.avg_pool2d(F.relu(self.conv2(x), inplace=True), 3, 2, ceil_mode=True))
        x = F.avg_pool2d(F.relu(self.conv3(x), inplace=True), 3, 2, ceil_mode=True)
        return self.ip1(x.flatten(1))

    @staticmethod
    def norm(x: Tensor) -> Tensor:
        return x * (1 + 5e-5 * F.avg_pool2d(x * x, 3, 1, 1)) ** -0.75


class Block(nn.Module):
    """Two 3x3 convolutions and the way past them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)
        self.past: nn.Module = nn.Identity()
        if inputs != outputs:
            self.past = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(inner + self.past(x), inplace=True)


class PlainResNet20(nn.Sequential):
    """ResNet-20 as one would write it."""

    def __init__(self) -> None:
        widths = [(16, 16, 1)] * 3 + [(16, 32, 2), (32, 32, 1), (32, 32, 1)] + [(32, 64, 2), (64, 64, 1), (64, 64, 1)]
        super().__init__(
            nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), *(Block(*width) for width in widths),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip


def resnet20_net() -> Any:
    """ResNet-20's prototxt, layer by layer as its public model has it."""
    lines: list[str] = []
    bottom = "data"

    def convolution(name: str, source: str, outputs: int, kernel: int, stride: int, relu: bool) -> str:
        fields = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {kernel // 2}"
        lines.append(f"""layer {{ name: "{name}" type: "Convolution" bottom: "{source}" top: "{name}"
          param {{ lr_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }}
          convolution_param {{ {fields} weight_filler {{ type: "msra" }} }} }}
          layer {{ name: "{name}_bn" type: "BatchNorm" bottom: "{name}" top: "{name}" }}
          layer {{ name: "{name}_scale" type: "Scale" bottom: "{name}" top: "{name}"
            scale_param {{ bias_term: true }} }}
        """)
        if relu:
            lines.append(f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}')
        return name

    bottom = convolution("conv1", bottom, 16, 3, 1, True)
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            name, stride = f"res{stage}{block}", 2 if stage and not block else 1
            past = convolution(f"{name}_past", bottom, width, 1, 2, False) if stride == 2 else bottom
            inner = convolution(f"{name}_a", bottom, width, 3, stride, True)
            inner = convolution(f"{name}_b", inner, width, 3, 1, False)
            lines.append(f"""layer {{ name: "{name}" type: "Eltwise" bottom: "{past}" bottom: "{inner}" top: "{name}" }}
              layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}""")
            bottom = name
    lines.append(f"""layer {{ name: "pool" type: "Pooling" bottom: "{bottom}" top: "pool"
        pooling_param {{ pool: AVE global_pooling: true }} }}
      layer {{ name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param {{ num_output: 10 weight_filler {{ type: "msra" }} }} }}
      layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}""")
    return parse_text("\n".join(lines), NetParameter)


def our_side(folder: Path, net: Any, batch: int) -> Any:
    """A solver for `net`, its batches from an LMDB of 10,000 made-up images."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (10_000, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 10, 10_000).tolist()
    records = ((b"%05d" % i, cc.encode_datum(image, labels[i])) for i, image in enumerate(images))
    cc.write_lmdb(folder / "set_lmdb", records)
    solver = parse_text(SOLVER, SolverParameter)
    data = f"""layer {{ name: "data" type: "Data" top: "data" top: "label"
      transform_param {{ mean_value: 120 scale: 0.02 }}
      data_param {{ source: "{folder / "set_lmdb"}" batch_size: {batch} backend: LMDB }} }}"""
    solver.net_param.CopyFrom(parse_text(data, NetParameter))
    solver.net_param.layer.extend(layer for layer in net.layer if layer.type != "Input")
    return cc.Solver(solver)


def plain_side(net: nn.Module, batch: int) -> Callable[[], None]:
    """One iteration of the loop by hand."""
    net = net.to(memory_format=torch.channels_last).train()
    images, labels = torch.randint(0, 256, (10_000, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (10_000,))
    images = images.contiguous(memory_format=torch.channels_last)
    biases = [blob for name, blob in net.named_parameters() if name.endswith("bias")]
    weights = [blob for name, blob in net.named_parameters() if not name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr": 0.002, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.001, momentum=0.9, weight_decay=0.004, foreach=True)
    start = 0

    def iteration() -> None:
        nonlocal start
        data = images[start : start + batch].float().sub_(120).mul_(0.02)
        loss = F.cross_entropy(net(data), labels[start : start + batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        start = start + batch if start + 2 * batch <= len(images) else 0

    return iteration


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("net", "plain", "batch"),
    [
        pytest.param(lambda: parse_text(CIFAR10_FULL, NetParameter), PlainCifar10Full, 100, id="cifar10_full"),
        pytest.param(resnet20_net, PlainResNet20, 128, id="resnet20"),
    ],
)
def test_an_iteration_is_faster_than_one_of_a_plain_loop(tmp_path, net, plain, batch):
    solver = our_side(tmp_path, net(), batch)
    module = plain()
    trained = [blob for param in solver.net.learnable_params if param.lr_mult for blob in [param.tensor]]
    assert sorted(map(torch.Tensor.numel, trained)) == sorted(map(torch.Tensor.numel, module.parameters()))
    sides = {"ours": lambda: solver.step(1), "plain torch": plain_side(module, batch)}
    seconds = _interleaved(sides)
    _report(seconds, "plain torch")
    medians = {name: sorted(times)[len(times) // 2] for name, times in seconds.items()}
    assert medians["ours"] <= WANTED * medians["plain torch"]


@pytest.mark.benchmark
def test_update_decay_and_force_take_little_of_an_iteration(tmp_path, monkeypatch):
    solver = cc.Solver(_forced_solver(tmp_path))
    updates: list[float] = []
    update = solver.apply_update

    def timed() -> None:
        start = time.perf_counter()
        update()
        updates.append(time.perf_counter() - start)

    monkeypatch.setattr(solver, "apply_update", timed)
    whole = _interleaved({"solver": lambda: solver.step(1)})["solver"]
    shares = sorted(part / all_of_it for part, all_of_it in zip(updates[-len(whole) :], whole, strict=True))
    middle, quarter = len(shares) // 2, len(shares) // 4
    print(f"\nupdate: {shares[middle]:.2%} of an iteration ({shares[quarter]:.2%} to {shares[-quarter]:.2%})")
    assert solver.has_force
    assert shares[middle] <= UPDATE_SHARE
