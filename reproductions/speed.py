"""How much faster AlexNet's and VGG16's convolutions are at published ranks, on this machine's CPU (Tables 4, 5, 6).

    python -m reproductions.speed [alexnet] [vgg16] [--threads N] [--record]

Each convolution stands alone, with random weights and inputs, dense and decomposed; all versions of it take turns, and
a speedup is the ratio of the medians of their forward passes. "all convolutions" is the sum of the medians of all
layers, those that a row leaves dense included, over the same sum with the decomposed ones.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caffe_compat as cc
from reproductions.record import LOGS, keep_log, record_run
from reproductions.runs import Run

WHOLE = "all convolutions"


@dataclass(frozen=True)
class Convolution:
    """Input channels and size, outputs, and the rest of a layer's shape."""

    channels: int
    size: int
    filters: int
    kernel: int
    pad: int = 0
    stride: int = 1
    group: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return self.filters, self.channels // self.group, self.kernel, self.kernel

    @property
    def multiply_adds(self) -> int:
        """For one image."""
        side = (self.size + 2 * self.pad - self.kernel) // self.stride + 1
        return math.prod(self.shape) * side * side


@dataclass(frozen=True)
class Case:
    """Ranks of some layers, and their methods where they are not PCA. paper: the rows that they answer."""

    name: str
    ranks: Mapping[str, Any]
    methods: Mapping[str, str]
    paper: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Network:
    """Layers, batch, and cases of a network."""

    layers: Mapping[str, Convolution]
    batch: int
    cases: tuple[Case, ...]


TAI = "separable"  # v/h filters of Tai et al. 2016
AUTHORS = "ranks of the authors' published example: the table's own were not published"
BY_TABLE = "ranks at which the multiply-adds fall by the table's factor: its own were not published"
ALEXNET = Network(
    {
        "conv1": Convolution(3, 227, 96, 11, stride=4),
        "conv2": Convolution(96, 27, 256, 5, pad=2, group=2),
        "conv3": Convolution(256, 13, 384, 3, pad=1),
        "conv4": Convolution(384, 13, 384, 3, pad=1, group=2),
        "conv5": Convolution(384, 13, 256, 3, pad=1, group=2),
    },
    32,
    (
        Case("Table 4, no force", {"conv3": 184, "conv4": 201, "conv5": 146}, {}, ("Table 4: AlexNet none",)),
        Case("Table 4, l2 force", {"conv3": 124, "conv4": 106, "conv5": 129}, {}, ("Table 4: AlexNet l2",)),
        Case(
            "lra1, by Tai et al.",
            {"conv1": 8, "conv2": 40, "conv3": 60, "conv4": 100, "conv5": 200},
            dict.fromkeys(("conv1", "conv2", "conv3", "conv4", "conv5"), TAI),
            (),
            "ranks that Tai et al. published for AlexNet",
        ),
        Case(
            "lra2, the authors' example",
            {"conv1": 8, "conv2": 40, "conv3": 150, "conv4": 160, "conv5": 120},
            {"conv1": TAI, "conv2": TAI},
            ("Table 6: ours low error",),
            AUTHORS,
        ),
        Case(
            "lra2, by the table's speedups",
            {"conv1": 8, "conv2": 40, "conv3": 68, "conv4": 86, "conv5": 80},
            {"conv1": TAI, "conv2": TAI},
            ("Table 5: AlexNet lra2 l2", "Table 6: ours", "Abstract: AlexNet"),
            BY_TABLE,
        ),
        Case(
            "one-shot",
            {"conv1": 26, "conv2": (50, 118), "conv3": (105, 112), "conv4": (98, 92), "conv5": (80, 84)},
            dict.fromkeys(("conv2", "conv3", "conv4", "conv5"), "tucker"),
            ("Table 6: one-shot",),
            "ranks of Kim et al., not checked against their print",
        ),
    ),
)
VGG_RANKS = (5, 24, 48, 48, 64, 128, 160, 192, 192, 256, 320, 320, 320)  # Tai et al. 2016
VGG_SHAPES = (
    ("conv1_1", 3, 224, 64),
    ("conv1_2", 64, 224, 64),
    ("conv2_1", 64, 112, 128),
    ("conv2_2", 128, 112, 128),
    ("conv3_1", 128, 56, 256),
    ("conv3_2", 256, 56, 256),
    ("conv3_3", 256, 56, 256),
    ("conv4_1", 256, 28, 512),
    ("conv4_2", 512, 28, 512),
    ("conv4_3", 512, 28, 512),
    ("conv5_1", 512, 14, 512),
    ("conv5_2", 512, 14, 512),
    ("conv5_3", 512, 14, 512),
)
VGG16 = Network(
    {name: Convolution(channels, size, filters, 3, pad=1) for name, channels, size, filters in VGG_SHAPES},
    2,
    (
        Case(
            "Tai et al.",
            dict(zip((name for name, *_ in VGG_SHAPES), VGG_RANKS, strict=True)),
            {name: TAI for name, *_ in VGG_SHAPES},
            (),
            "ranks that Tai et al. published; they report 2.07 times, forward and backward, on a GPU",
        ),
    ),
)
NETWORKS = {"alexnet": ALEXNET, "vgg16": VGG16}


def alone(name: str, layer: Convolution, batch: int) -> cc.Model:
    """A net of one convolution with random weights."""
    net = f"""
    layer {{ name: "data" type: "Input" top: "data"
      input_param {{ shape {{ dim: {batch} dim: {layer.channels} dim: {layer.size} dim: {layer.size} }} }} }}
    layer {{ name: "{name}" type: "Convolution" bottom: "data" top: "{name}" convolution_param {{
      num_output: {layer.filters} kernel_size: {layer.kernel} pad: {layer.pad} stride: {layer.stride}
      group: {layer.group} }} }}
    """
    draw = np.random.default_rng(0)
    weight = (draw.standard_normal(layer.shape) / np.sqrt(np.prod(layer.shape[1:]))).astype(np.float32)
    return cc.Model(cc.parse_text(net, cc.NetParameter), {name: (weight, np.zeros(layer.filters, np.float32))})


Timer = Callable[[Sequence[cc.Model], Mapping[str, torch.Tensor]], list[list[float]]]


def time_layer(name: str, network: Network, timer: Timer) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of every round: of the dense layer, and of its chain in each case that has one.

    timer: (models, inputs) -> seconds of every model in every round, the models in turn.
    """
    dense = alone(name, network.layers[name], network.batch)
    cases = [case for case in network.cases if name in case.ranks]
    chains = [cc.decompose(dense, {name: case.ranks[name]}, case.methods.get(name, "pca")) for case in cases]
    layer = network.layers[name]
    data = torch.randn(network.batch, layer.channels, layer.size, layer.size)
    times = timer([dense, *chains], {"data": data.contiguous(memory_format=torch.channels_last)})
    return times[0], {case.name: seconds for case, seconds in zip(cases, times[1:], strict=True)}


def on_the_cpu(models: Sequence[cc.Model], inputs: Mapping[str, torch.Tensor], rounds: int) -> list[list[float]]:
    """A Timer once it has its rounds."""
    return cc.compare_time([cc.Net(model, phase="TEST").eval() for model in models], inputs, rounds)


def theory(name: str, network: Network, case: Case) -> float:
    """Multiply-adds of the dense layer over those of its chain."""
    layer, method = network.layers[name], case.methods.get(name, "pca")
    if method == "pca":  # the table's odd ranks over two groups, which no chain can have, are taken as they are
        return float(cc.theoretical_speedup(layer.shape, case.ranks[name], layer.group))
    dense = alone(name, layer, 1)
    return float(cc.compare_cost(dense, cc.decompose(dense, {name: case.ranks[name]}, method)).speedup)


def measures(
    network: Network, case: Case, times: Mapping[str, Any], measured: str = "CPU speedup"
) -> dict[tuple[str, str], float]:
    """Speedups of the layers of a case and of all convolutions, measured and by multiply-adds, and their spread.

    measured: what the measured ones are called.
    """
    found: dict[tuple[str, str], float] = {}
    before = after = 0.0
    for name, (dense, chains) in times.items():
        before += statistics.median(dense)
        chain = chains.get(case.name, dense)
        after += statistics.median(chain)
        if case.name in chains:
            ratios = statistics.quantiles([a / b for a, b in zip(dense, chain, strict=True)], n=4)
            found[measured, name] = statistics.median(dense) / statistics.median(chain)
            found["interquartile range", name] = ratios[2] - ratios[0]
            found["theoretical speedup", name] = theory(name, network, case)
    found[measured, WHOLE] = before / after
    costs = {name: layer.multiply_adds for name, layer in network.layers.items()}
    left = sum(cost / found.get(("theoretical speedup", name), 1.0) for name, cost in costs.items())
    found["theoretical speedup", WHOLE] = sum(costs.values()) / left
    return found


def measure(name: str, rounds: int, record: bool) -> None:
    """Time every layer of a network, print the rows, and record them with the time of every round."""
    network = NETWORKS[name]
    times = {layer: time_layer(layer, network, partial(on_the_cpu, rounds=rounds)) for layer in network.layers}
    lines = [json.dumps({"layer": layer, "dense": dense, **chains}) for layer, (dense, chains) in times.items()]
    for case in network.cases:
        found = measures(network, case, times)
        print(f"{name}, {case.name}: " + ", ".join(f"{what} {layer} {v:.2f}" for (what, layer), v in found.items()))
        if record:
            record_run(as_run(name, network, case, found, times, log_of(name, lines)))


def as_run(
    name: str, network: Network, case: Case, found: Mapping[Any, float], times: Mapping[str, Any], log: str
) -> Run:
    ranks = ", ".join(f"{layer} {rank_text(rank)}" for layer, rank in case.ranks.items())
    note = "; ".join(filter(None, [f"ranks given: {ranks}", case.note, f"batches of {network.batch}, random weights"]))
    return Run(
        network=name,
        experiment="speed",
        method=case.name,
        measures=found,
        seconds=sum(sum(dense) + sum(map(sum, chains.values())) for dense, chains in times.values()),
        command=f"python -m reproductions.speed {name} --record",
        log=log,
        paper=case.paper,
        note=note,
    )


def rank_text(rank: Any) -> str:
    """ "60", or "50/118" of inputs and outputs."""
    return str(rank) if isinstance(rank, int) else "/".join(map(str, rank))


def log_of(name: str, lines: Sequence[str], folder: Path = LOGS) -> str:
    """Keep the seconds of every round as a log in `folder`; its path."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "speed.jsonl")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return keep_log(path, f"{name}-speed.jsonl", folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reproductions.speed", description=__doc__)
    parser.add_argument("networks", nargs="*", choices=(*NETWORKS, []), default=[], help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--record", action="store_true", help="write the rows to results/")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.networks or NETWORKS:
        measure(name, arguments.rounds, arguments.record)


if __name__ == "__main__":
    main()
