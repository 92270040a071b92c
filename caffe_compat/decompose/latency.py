"""Measured time of layers and of their chains on this machine, for a budget in seconds."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from caffe_compat.decompose.bank import FilterBank, banks, find_layer, has_filters, stored_blobs
from caffe_compat.decompose.budget import DENSE, Choice, Plan, Table, kept_energy, solve_tied
from caffe_compat.decompose.latency_table import LatencyTable
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.layers.base import Shape
from caffe_compat.net.cost import layers_with_shapes
from caffe_compat.net.net import Net
from caffe_compat.net.timing import compare_time
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model, ModelLike, as_model
from caffe_compat.proto.schema import NetParameter

FASTER = 0.97  # a chain is a choice only where its median is below this share of dense: noise never makes a net slower


def ranks_by_latency(
    model: ModelLike,
    share: float,
    methods: Sequence[str] = ("pca", "separable"),
    multiple: int = 16,
    grid: int = 8,
    device: str = "cpu",
    input_shapes: Mapping[str, Shape] | None = None,
    kept_in: str | os.PathLike[str] | None = None,
) -> Plan:
    """The plan that keeps most energy at `share` of the measured time of all its Convolutions.

    Dense layers and chains (each method at up to `grid` ranks, a group's a multiple of `multiple`) are timed on
    `device` with the threads that torch has now, at the batch of the net. Where every chain is slower than its layer,
    the plan is dense; each chain of the plan is timed a second time, and is no choice if it is not faster then too.
    kept_in: a JSON file of times to take and to add to, so that another search is quick. Costs are in seconds. Raises
    RankError for a budget that nothing measured can meet.
    """
    model = as_model(model)
    table = measured_table(model, methods, multiple, grid, device, input_shapes, kept_in)
    bottoms = _bottoms(model, input_shapes)
    confirmed: set[tuple[str, str, int]] = set()
    while True:
        plan = solve_tied(model, table, share)
        unsure = [(name, plan.methods[name], rank) for name, rank in plan.ranks.items()]
        unsure = [each for each in unsure if each not in confirmed]
        if not unsure:
            return plan
        for name, method, rank in in_steps("measuring again", unsure, lambda each: each[0]):
            dense, low = _time_layer(model, name, bottoms[name], [(method, rank)], device)
            confirmed.add((name, method, rank))
            if low >= dense:
                table[name] = [choice for choice in table[name] if (choice.method, choice.rank) != (method, rank)]


def measured_table(
    model: Model,
    methods: Sequence[str] = ("pca", "separable"),
    multiple: int = 16,
    grid: int = 8,
    device: str = "cpu",
    input_shapes: Mapping[str, Shape] | None = None,
    kept_in: str | os.PathLike[str] | None = None,
) -> Table:
    """The choices of every Convolution: dense, and the chains that measured faster; see `ranks_by_latency`."""
    bottoms = _bottoms(model, input_shapes)
    known = LatencyTable(kept_in, device)
    table: Table = {}
    try:
        for name, bank in in_steps("measuring", banks(model).items(), lambda layer: layer[0]):
            if name not in bottoms:
                continue
            candidates = _candidates(bank, methods, multiple, grid)
            layer = find_layer(model, name)
            seconds = known.find(layer, bottoms[name], candidates)
            if seconds is None:
                seconds = _time_layer(model, name, bottoms[name], candidates, device)
                known.add(layer, bottoms[name], candidates, seconds)
            table[name] = _choices(bank, candidates, seconds)
    finally:  # what was measured before an interrupt need not be measured again
        known.write()
    return table


def _bottoms(model: Model, input_shapes: Mapping[str, Shape] | None) -> dict[str, Shape]:
    """The shape of the first bottom of every layer that has filters."""
    known = layers_with_shapes(model, input_shapes)
    return {layer.name: shapes[0] for layer, shapes, _ in known if shapes and has_filters(layer.param)}


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


def _time_layer(
    model: Model, name: str, bottom: Shape, candidates: Sequence[tuple[str, int]], device: str
) -> list[float]:
    """Median seconds of the layer, then of each chain, on one random bottom."""
    alone = _alone(model, name, bottom)
    models = [alone, *(decompose(alone, {name: rank}, method) for method, rank in candidates)]
    nets = [Net(each).to(device).eval() for each in models]
    data = torch.randn(bottom, device=device)
    if len(bottom) == 4:
        data = data.contiguous(memory_format=torch.channels_last)
    return [statistics.median(rounds) for rounds in compare_time(nets, {"data": data})]


def _choices(bank: FilterBank, candidates: Sequence[tuple[str, int]], seconds: Sequence[float]) -> list[Choice]:
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
    return Model(net, {name: stored_blobs(model, layer)})
