"""Every golden layer case, forward and backward, through the public Net."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from caffe_compat.layers.registry import known_types
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import read_text
from tests.conftest import golden

CASES = {case["name"]: case for case in json.loads(golden("layers", "cases.json").read_text())}
TOP_TOLERANCE = 1e-5  # of the largest value; both sides lie within 1e-6 of float64, save softmax of scores near 40
GRADIENT_TOLERANCE = 2e-5

Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def beside_the_cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some cases read files that lie beside them, or import a Python layer from there."""
    monkeypatch.chdir(golden("layers"))
    monkeypatch.syspath_prepend(str(golden("layers")))
    yield


@pytest.mark.parametrize("name", CASES)
def test_every_top_and_the_loss_are_caffes(name: str) -> None:
    expected, net = _case(name)
    tops = [net.blobs(**feed) for feed in _feeds(expected)]
    if name == "dropout_train":
        _assert_dropped_out(tops[-1]["y"], expected["bottom_x"], ratio=0.3)
        return
    for blob, value in _group(expected, "top_").items():
        _assert_close(tops[-1][blob], value, TOP_TOLERANCE, f"top {blob}")
    for blob, value in _group(expected, "topseq_").items():
        _assert_close(torch.stack([top[blob] for top in tops]), value, TOP_TOLERANCE, f"tops {blob} of all forwards")
    for key, value in _group(expected, "paramafter_").items():
        layer, index = key.rsplit("_", 1)
        _assert_close(net.params[layer][int(index)], value, TOP_TOLERANCE, f"blob {index} of '{layer}' after forward")


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_caffes(name: str) -> None:
    expected, net = _case(name)
    *earlier, last = _feeds(expected)
    for feed in earlier:
        net(**feed)
    inputs = {blob: torch.from_numpy(value).requires_grad_() for blob, value in last.items()}
    outputs, loss = net.forward_with_loss(**inputs)
    _assert_close(loss, expected["loss_total"], TOP_TOLERANCE, "total loss")
    given = {blob: torch.from_numpy(diff) for blob, diff in _group(expected, "topdiff_").items()}
    reached = [blob for blob in given if outputs[blob].requires_grad]
    torch.autograd.backward([outputs[blob] for blob in reached], [given[blob] for blob in reached])
    if name == "dropout_train":
        expected["bottomdiff_x"] = expected["topdiff_y"] * (outputs["y"].detach().numpy() != 0) / np.float32(0.7)
    _check_bottom_gradients(inputs, expected, net.param.force_backward)
    for key, value in _group(expected, "paramdiff_").items():
        layer, index = key.rsplit("_", 1)
        tensor = net.params[layer][int(index)]
        gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        _assert_close(gradient.reshape(value.shape), value, GRADIENT_TOLERANCE, f"gradient {index} of '{layer}'")


def _case(name: str) -> tuple[Arrays, Net]:
    unknown = set(CASES[name]["types"]) - set(known_types())
    if unknown:
        pytest.skip(f"no layer of type {', '.join(sorted(unknown))}")
    expected = dict(np.load(golden("layers", f"{name}.npz")))
    follows_fork = str(expected["source"]) == "caffe"
    param = read_text(golden("layers", f"{name}.prototxt"), NetParameter)
    net = Net(param, phase=str(expected["phase"]), compat="wen2017" if follows_fork else "bvlc")
    blobs: dict[str, list[Any]] = defaultdict(list)
    for key in sorted(_group(expected, "param_"), key=lambda key: int(key.rsplit("_", 1)[1])):
        blobs[key.rsplit("_", 1)[0]].append(expected[f"param_{key}"])
    net.load_weights(blobs)
    return expected, net


def _feeds(expected: Arrays) -> list[Arrays]:
    sequences = _group(expected, "bottomseq_")
    count = len(next(iter(sequences.values()))) if sequences else 1
    single = _group(expected, "bottom_")
    return [{**single, **{blob: values[i] for blob, values in sequences.items()}} for i in range(count)]


def _group(arrays: Arrays, prefix: str) -> Arrays:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def _check_bottom_gradients(inputs: dict[str, torch.Tensor], expected: Arrays, force_backward: bool) -> None:
    for blob, value in inputs.items():
        gradient = torch.zeros_like(value) if value.grad is None else value.grad
        if f"bottomdiff_{blob}" in expected:
            _assert_close(gradient, expected[f"bottomdiff_{blob}"], GRADIENT_TOLERANCE, f"gradient of bottom {blob}")
        elif force_backward:  # then Caffe asks every layer, and one that writes nothing gives no gradient
            assert not gradient.any(), f"bottom {blob} has a gradient, in Caffe it has none"


def _assert_close(found: torch.Tensor, wanted: np.ndarray, tolerance: float, what: str) -> None:
    value = found.detach().numpy()
    assert value.shape == wanted.shape, f"{what}: {value.shape}, wanted {wanted.shape}"
    largest = np.abs(wanted).max(initial=0)
    error = np.abs(value.astype(np.float64) - wanted).max(initial=0)
    assert error <= tolerance * largest, f"{what}: off by {error:g}, largest {largest:g}"


def _assert_dropped_out(top: torch.Tensor, bottom: np.ndarray, ratio: float) -> None:
    """Random, so: what is kept is bottom / (1 - ratio), and about as much is kept as should be."""
    kept = top.numpy() != 0
    np.testing.assert_allclose(top.numpy()[kept], bottom[kept] / (1 - ratio), rtol=1e-6)
    assert abs(kept.mean() - (1 - ratio)) < 5 * np.sqrt(ratio * (1 - ratio) / kept.size)
