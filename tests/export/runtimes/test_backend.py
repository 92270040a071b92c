"""A prepared net that runs in another runtime gives what the net gives, or says why not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.export.runtimes import backend as home
from caffe_compat.net.backends import BACKENDS
from tests.net.test_prepared import CONV, DATA, NORM, filled, image

TEXT = DATA.format("dim: 1 dim: 8 dim: 9 dim: 9") + CONV.format("c", "data", "num_output: 8 kernel_size: 3")
LRN = 'layer { name: "n" type: "LRN" bottom: "c" top: "n" lrn_param { local_size: 5 alpha: 0.5 k: 2.5 } }'


def needed(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the package {backend}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_gives_what_the_net_gives_for_inputs_of_any_size(backend: str) -> None:
    needed(backend)
    net = filled(TEXT + NORM.replace("SLOPE", "0") + LRN)
    prepared = net.prepare(backend=backend)
    for shape in ((1, 8, 9, 9), (3, 8, 9, 12), (1, 8, 9, 9)):
        for _ in range(2):  # the first pass gives the net's own values
            found = prepared(image(*shape))
        with torch.no_grad():
            wanted = net(image(*shape))
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            assert found[name].dtype == torch.float32
            np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4 * float(value.abs().max()), err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_blobs_in_between_and_inputs_are_had_by_name_and_changed_weights_are_seen(backend: str) -> None:
    needed(backend)
    net = filled(TEXT + NORM.replace("SLOPE", "0"))
    prepared = net.prepare(["c", "data", "scale"], backend=backend)
    for factor in (1, 3):
        with torch.no_grad():
            net.params["c"][0].mul_(factor)
            wanted = net.blobs(image(1, 8, 9, 9))
        for _ in range(2):
            found = prepared(image(1, 8, 9, 9))
        assert list(found) == ["c", "data", "scale"]
        for name, value in found.items():
            np.testing.assert_allclose(value, wanted[name], rtol=0, atol=1e-4 * float(wanted[name].abs().max()))


def test_what_it_gives_stays_as_it_is_after_the_next_pass() -> None:
    needed("onnxruntime")
    prepared = filled(TEXT).prepare(backend="onnxruntime")
    first = [prepared(image(1, 8, 9, 9))["c"] for _ in range(2)][1]
    before = first.clone()
    prepared(-image(1, 8, 9, 9))
    assert torch.equal(first, before)


def test_a_blob_that_differs_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    needed("onnxruntime")
    honest = home._onnxruntime

    def wrong(file: bytes, names: list[str]) -> tuple[list[str], Callable[[dict[str, np.ndarray]], list[np.ndarray]]]:
        read, run = honest(file, names)
        return read, lambda arrays: [array * np.float32(1.001) for array in run(arrays)]

    monkeypatch.setitem(home._STARTS, "onnxruntime", wrong)
    with pytest.raises(cc.GraphError, match=r"in onnxruntime blob 'c' differs by more than 0\.0001"):
        filled(TEXT).prepare(backend="onnxruntime")(image(1, 8, 9, 9))


def test_bad_requests_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    net = filled(TEXT)
    with pytest.raises(cc.GraphError, match="backend 'openvina' is not known; did you mean 'openvino'"):
        net.prepare(backend="openvina")
    needed("onnxruntime")
    with pytest.raises(cc.GraphError, match="onnxruntime gives blobs and no loss"):
        net.prepare(backend="onnxruntime").forward_with_loss(data=image(1, 8, 9, 9))
    loss = 'layer { name: "l" type: "EuclideanLoss" bottom: "c" bottom: "c" top: "l" }'
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 'l' .*belongs to training"):
        filled(TEXT + loss).prepare(backend="onnxruntime")(image(1, 8, 9, 9))
    monkeypatch.setattr("importlib.metadata.version", absent)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    with pytest.raises(cc.DataError, match=r"OpenVINO is not installed: pip install 'caffe_compat\[openvino\]'"):
        net.prepare(backend="openvino")


def absent(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)
