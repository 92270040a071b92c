"""Measured time of layers and of their chains on this machine, for a budget in seconds."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from caffe_compat.decompose.bank import FilterBank, banks, find_layer
from caffe_compat.decompose.budget import DENSE, Choice, Plan, Table, kept_energy, solve
from caffe_compat.decompose.cost import layers_with_shapes
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.layers.base import Shape
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter

ROUNDS = 7
FASTER = 0.97  # a chain is a choice only where its median is below this share of dense: noise never makes a net slower


def ranks_by_latency(
    model: Model,
    share: float,
    methods: Sequence[str] = ("pca", "separable"),
    multiple: int = 16,
    grid: int = 8,
    device: str = "cpu",
    input_shapes: Mapping[str, Shape] | None = None,
) -> Plan:
    """The plan that keeps most energy at `share` of the measured time of all its Convolutions.

    Dense layers and chains (each method at up to `grid` ranks, a group's a multiple of `multiple`) are timed on
    `device` with the threads that torch has now, at the batch of the net. Where every chain is slower than its layer,
    the plan is dense. Costs are in seconds. Raises RankError for a budget that nothing measured can meet.
    """
    return solve(measured_table(model, methods, multiple, grid, device, input_shapes), share)


def measured_table(
    model: Model,
    methods: Sequence[str] = ("pca", "separable"),
    multiple: int = 16,
    grid: int = 8,
    device: str = "cpu",
    input_shapes: Mapping[str, Shape] | None = None,
) -> Table:
    """The choices of every Convolution: dense, and the chains that measured faster."""
    bottoms = {layer.name: shapes[0] for layer, shapes, _ in layers_with_shapes(model, input_shapes) if shapes}
    table: Table = {}
    for name, bank in banks(model).items():
        if name in bottoms:
            table[name] = _measure_layer(model, bank, bottoms[name], _candidates(bank, methods, multiple, grid), device)
    return table


def compare_time(nets: Sequence[Net], inputs: Mapping[str, Any], rounds: int = ROUNDS) -> list[list[float]]:
    """Seconds of a forward pass of every net in every round; the nets take turns, after a pass to warm each."""
    times: list[list[float]] = [[] for _ in nets]
    with torch.inference_mode():
        for net in nets:
            net(**inputs)
        for _ in range(rounds):
            for net, seconds in zip(nets, times, strict=True):
                _synchronize(net)
                start = time.perf_counter()
                net(**inputs)
                _synchronize(net)
                seconds.append(time.perf_counter() - start)
    return times


def _synchronize(net: Net) -> None:
    if next((parameter.is_cuda for parameter in net.parameters()), False):
        torch.cuda.synchronize()


def _candidates(bank: FilterBank, methods: Sequence[str], multiple: int, grid: int) -> list[tuple[str, int]]:
    """Up to `grid` ranks for each method that could be faster than dense, spread evenly, multiples as asked."""
    found = []
    for method in methods:
        if method == "separable" and (bank.weight.ndim != 4 or bank.weight[0, 0].size == 1):
            continue
        step = multiple * bank.group
        width = bank.weight.shape[-1] if method == "separable" else 1
        values = bank.weight[0].size // width
        even = bank.weight.size / (values + len(bank.weight) // bank.group * width)
        ranks = list(range(step, min(math.ceil(even), max(kept_energy(bank, method)) + 1), step))
        places = np.linspace(0, len(ranks) - 1, min(grid, len(ranks))).round().astype(int)
        found += [(method, ranks[place]) for place in np.unique(places)]
    return found


def _measure_layer(
    model: Model, bank: FilterBank, bottom: Shape, candidates: Sequence[tuple[str, int]], device: str
) -> list[Choice]:
    alone = _alone(model, bank.layer, bottom)
    models = [alone, *(decompose(alone, {bank.layer: rank}, method) for method, rank in candidates)]
    nets = [Net(each).to(device).eval() for each in models]
    data = torch.randn(bottom, device=device)
    if len(bottom) == 4:
        data = data.contiguous(memory_format=torch.channels_last)
    seconds = [statistics.median(rounds) for rounds in compare_time(nets, {"data": data})]
    kept = {method: kept_energy(bank, method) for method, _ in candidates}
    choices = [Choice(DENSE, None, seconds[0])]
    for (method, rank), spent in zip(candidates, seconds[1:], strict=True):
        if spent < FASTER * seconds[0]:
            choices.append(Choice(method, rank, spent, kept[method][rank]))
    return choices


def _alone(model: Model, name: str, bottom: Shape) -> Model:
    """A net of the one layer `name` and an input of the shape of its bottom."""
    layer = find_layer(model, name)
    net = NetParameter(name=name)
    source = net.layer.add(name="data", type="Input", top=["data"])
    source.input_param.shape.add(dim=bottom)
    only = net.layer.add()
    only.CopyFrom(layer)
    del only.bottom[:], only.top[:], only.include[:], only.exclude[:], only.param[:]
    only.bottom.append("data")
    only.top.append("out")
    return Model(net, {name: model.weights[name]})
