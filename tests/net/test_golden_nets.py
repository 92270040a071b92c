"""Whole nets against what a real Caffe computed, weights and inputs from the seeded rule of README-layers.md."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from caffe_compat.net.net import Net
from caffe_compat.proto.model import read_net
from tests.conftest import golden

QUICK = ["cifar10_quick", "fcn_like", "googlenet_deploy", "lenet", "mobilenet_v1_like"]
QUICK += ["resnet20_cifar", "resnet20_cifar_deploy", "siamese", "squeezenet_v1_1"]
LARGE = ["alexnet", "vgg16"]  # seconds and gigabytes to draw the weights of

BLOB_TOLERANCE = 2e-5  # of the largest value; Caffe itself lies at most 3.4e-6 from float64
GRADIENT_TOLERANCE = 1e-4

Arrays = dict[str, np.ndarray]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_blobs_outputs_loss_and_gradients_are_caffes(name: str) -> None:
    rule = json.loads(golden("nets", f"{name}.json").read_text())
    expected = dict(np.load(golden("nets", f"{name}.npz")))
    # The cases come from the fork; resnet20's BatchNorm gradients and ties depend on which Caffe it is
    net = Net(read_net(golden("nets", f"{name}.prototxt")), phase=rule["phase"], compat="wen2017")
    net.load_weights(_drawn_weights(rule))
    inputs = _drawn_inputs(rule)

    initial = {layer: [blob.detach().clone() for blob in blobs] for layer, blobs in net.params.items()}
    outputs, loss = net.forward_with_loss(**inputs)
    np.testing.assert_allclose(loss.item(), expected["loss_total"], rtol=BLOB_TOLERANCE)
    _check_changed_blobs(net, expected)
    if rule["backward"]:
        loss.backward()
        for layer, index in rule["grads"]:
            gradient = net.params[layer][index].grad
            assert gradient is not None
            _check_samples(gradient, expected, "grad", f"{layer}_{index}", GRADIENT_TOLERANCE)

    with torch.no_grad():
        for layer, blobs in initial.items():
            for index, blob in enumerate(blobs):
                net.params[layer][index].copy_(blob)
        every = net.blobs(**inputs)
    for blob in rule["records"]:
        _check_samples(every[blob], expected, "", blob, BLOB_TOLERANCE)
    for blob in rule["outputs"]:
        wanted = expected[f"out_{blob}"]
        _assert_close(every[blob], wanted, np.abs(wanted).max(), BLOB_TOLERANCE, blob)
    assert all(torch.equal(outputs[blob], every[blob]) for blob in outputs)


def _drawn_weights(rule: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    weights: dict[str, list[np.ndarray]] = {}
    for entry in rule["params"]:
        if entry["shared_with"]:
            owner, index = entry["shared_with"]
            blob = weights[owner][index]
        else:
            random = np.random.RandomState(rule["seed"] + 1000 * entry["l"] + entry["blob"])
            blob = _drawn(random, entry).astype(np.float32)
        weights.setdefault(entry["layer"], []).append(blob)
    return weights


def _drawn(random: np.random.RandomState, entry: dict[str, Any]) -> np.ndarray:
    if entry["op"] == "const":
        return np.full(entry["shape"], entry["offset"])
    values = random.standard_normal(entry["shape"])
    if entry["op"] == "abs":
        np.abs(values, out=values)
    values *= entry["scale"]
    values += entry["offset"]
    return values


def _drawn_inputs(rule: dict[str, Any]) -> Arrays:
    inputs = {}
    for position, entry in enumerate(rule["inputs"]):
        random = np.random.RandomState(rule["seed"] + 500000 + position)
        shape = entry["shape"]
        if entry["gen"] == "normal":
            values = random.standard_normal(shape) * entry["scale"]
        else:
            values = random.randint(0, entry["high"], shape)
            if entry.get("first_row_zero"):
                values[0] = 0
            if "ignore" in entry:
                values[random.uniform(size=shape) < entry["ignore_p"]] = entry["ignore"]
        inputs[entry["name"]] = values.astype(np.float32)
    return inputs


def _check_changed_blobs(net: Net, expected: Arrays) -> None:
    for key, value in expected.items():
        if key.startswith("paramafter_"):
            layer, index = key.removeprefix("paramafter_").rsplit("_", 1)
            _assert_close(net.params[layer][int(index)], value, np.abs(value).max(), BLOB_TOLERANCE, key)


def _check_samples(found: torch.Tensor, expected: Arrays, prefix: str, name: str, tolerance: float) -> None:
    """The recorded shape, first values, sampled values and statistics of one array."""
    shape, first, sample, stat = (expected[f"{prefix}{part}_{name}"] for part in ("shape", "first", "sample", "stat"))
    assert tuple(found.shape) == tuple(shape), name
    flat = found.detach().contiguous().view(-1)
    places = np.unique(np.linspace(0, flat.numel() - 1, 256).astype(np.int64))
    if flat.numel() <= 256:
        places = np.arange(flat.numel())
    largest = np.abs(stat[2:]).max()
    _assert_close(flat[:64], first, largest, tolerance, name)
    _assert_close(flat[places], sample, largest, tolerance, name)
    values = flat.double()
    found_stat = np.array([values.mean(), values.std(correction=0), values.min(), values.max()])
    np.testing.assert_allclose(found_stat, stat, rtol=0, atol=tolerance * largest, err_msg=name)


def _assert_close(found: torch.Tensor, wanted: np.ndarray, largest: float, tolerance: float, name: str) -> None:
    value = found.detach().numpy()
    assert value.shape == wanted.shape, name
    error = np.abs(value.astype(np.float64) - wanted).max(initial=0)
    assert error <= tolerance * largest, f"{name}: off by {error:g}, largest {largest:g}"
