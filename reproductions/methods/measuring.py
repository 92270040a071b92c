"""What is kept of a run of a method: filters or ranks that are left, multiply-adds, and the time of a forward pass."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import caffe_compat as cc
from reproductions.measures import chain_ranks, costs
from reproductions.narrowing import filter_banks
from reproductions.steps import Step

ROUNDS = 15
BATCH = 100
CONNECTED = "connected multiply-adds"  # those of weights other than 0, where a mask leaves the shapes as they are


def measure(runner: Any, step: Step) -> dict[str, Any]:
    """`ranks`, `multiply_adds`, `parameters`, and `more`; of the trained net alone where nothing has gone yet."""
    folder = runner.folder(step)
    model = cc.read_model(folder / "train_test.prototxt", runner.weights(step))
    found: dict[str, Any] = {"ranks": chain_ranks(model), "more": {}, **costs(model, folder)}
    if not runner.before(step):
        return found
    dense = cc.read_model(runner.network.folder / runner.network.net)
    found["more"] |= filters_left(dense, model, folder) | connected(model, found["multiply_adds"])
    return found | {"more": found["more"] | speedup(dense, model, folder, 2 if runner.place.smoke else ROUNDS)}


def filters_left(dense: cc.Model, small: cc.Model, folder: Any) -> dict[str, float]:
    """Filters of every layer that has fewer than the dense net."""
    whole = {name: len(blobs[0]) for name, blobs in cc.Net(dense, "TEST", folder=folder).weights().items()}
    left = {name: len(small.weights[name][0]) for name in filter_banks(small)}
    return {f"filters@{name}": float(count) for name, count in left.items() if count < whole.get(name, count)}


def connected(model: cc.Model, multiply_adds: int) -> dict[str, float]:
    """The multiply-adds of weights other than 0, where a convolution has whole kernels of zeros."""
    layers = {layer.name: layer.convolution_param for layer in model.net.layer if layer.type == "Convolution"}
    if all(param.connection_density == 1 for param in layers.values()):
        return {}
    costs = cc.layer_costs(model)
    saved = 0.0
    for name in layers:
        kernels = np.asarray(model.weights[name][0])
        empty = 1 - float(kernels.reshape(*kernels.shape[:2], -1).any(2).mean())
        saved += costs[name].multiply_adds * empty
    return {CONNECTED: multiply_adds - saved}


def speedup(dense: cc.Model, small: cc.Model, folder: Any, rounds: int) -> dict[str, float]:
    """The dense net's time over the small one's, a batch of 100 on one thread; the two take turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        nets = [cc.Net(model, "TEST", folder=folder).eval() for model in (dense, small)]
        times = cc.compare_time(nets, inputs(nets[0]), rounds)
    finally:
        torch.set_num_threads(before)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "milliseconds": 1000 * statistics.median(times[1]),
        "CPU speedup": statistics.median(times[0]) / statistics.median(times[1]),
        "speedup, low quartile": low,
        "speedup, high quartile": high,
    }


def inputs(net: cc.Net) -> Mapping[str, torch.Tensor]:
    """Random images and labels for the data layer of `net`."""
    torch.manual_seed(0)
    found = {}
    for name in net.input_names:
        shape = (BATCH, *net.shapes[name][1:])
        found[name] = torch.randn(shape) if len(shape) > 1 else torch.zeros(shape)
    return found
