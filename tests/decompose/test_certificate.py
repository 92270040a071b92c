"""Certificates: ranks and errors found from weights alone, and faults that they must find."""

import json

import numpy as np
import pytest

from caffe_compat.decompose.certificate import certify
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import RankError, WeightsError
from caffe_compat.proto.model import Model
from tests.decompose import cases
from tests.decompose.cases import read_case


@pytest.mark.parametrize("name", cases.names())
def test_every_kind_of_chain_is_certified(name):
    case = read_case(name)
    ranks = case.settings["ranks"]
    certificate = certify(case.given, decompose(case.given, ranks, case.settings.get("method", "pca")))
    assert set(certificate.layers) == set(ranks)
    for layer, found in certificate.layers.items():
        group = next(one for one in case.given.net.layer if one.name == layer).convolution_param.group
        rank = ranks[layer] if isinstance(ranks[layer], list) else [ranks[layer]]
        assert found.rank == min(rank) // group * group and found.rank <= max(found.largest_rank, found.rank)
        assert 0 <= found.relative_error < 1 and found.bias_change == 0
        assert found.energy_kept == pytest.approx(1 - found.relative_error**2)
    assert json.loads(str(certificate))["blobs"] == certificate.blobs


def test_full_rank_certifies_no_difference():
    case = read_case("conv_pca")
    certificate = certify(case.given, decompose(case.given, {"conv1": 32}))
    assert certificate.layers["conv1"].relative_error < 1e-6
    assert certificate.blobs.keys() == {"conv1"} and certificate.blobs["conv1"] < 1e-5


def test_the_error_of_pca_is_the_tail_of_the_spectrum():
    case = read_case("conv_pca")
    values = np.linalg.svd(case.given.weights["conv1"][0].reshape(32, -1).astype(np.float64), compute_uv=False)
    found = certify(case.given, decompose(case.given, {"conv1": 13})).layers["conv1"]
    assert found.chain == ("conv1_lowrank", "conv1_linear") and (found.rank, found.largest_rank) == (13, 32)
    assert found.relative_error**2 == pytest.approx(np.square(values[13:]).sum() / np.square(values).sum(), rel=1e-5)


def test_changed_weights_show_in_the_error_the_bias_and_the_outputs():
    case = read_case("conv_pca")
    small = decompose(case.given, {"conv1": 32})
    mix, bias = small.weights["conv1_linear"]
    changed = Model(small.net, {**small.weights, "conv1_linear": (mix * 2, bias + 3)})
    found = certify(case.given, changed)
    assert found.layers["conv1"].relative_error == pytest.approx(1, abs=1e-5)
    assert found.layers["conv1"].bias_change == pytest.approx(3, abs=1e-5)
    assert found.blobs["conv1"] > 0.1


def test_faults_are_named():
    case = read_case("separable")
    small = decompose(case.given, {"c": 4}, "separable")
    first, bias = small.weights["c_v"]
    with pytest.raises(WeightsError, match="layer 'c_v' has a bias that is not zero"):
        certify(case.given, Model(small.net, {**small.weights, "c_v": (first, bias + 1)}))
    with pytest.raises(WeightsError, match="layer 'c_h' has 0 of 2 blobs"):
        certify(case.given, Model(small.net, {name: blobs for name, blobs in small.weights.items() if name != "c_h"}))
    joined = Model(small.net, {**small.weights, "c_h": (np.ones((6, 4, 1, 2), np.float32), small.weights["c_h"][1])})
    with pytest.raises(WeightsError, match=r"of c_v, c_h do not join to \(6, 2, 3, 5\)"):
        certify(case.given, joined)
    del small.net.layer[2]
    with pytest.raises(RankError, match="layer 'c' is gone, and no chain such as c_lowrank and c_linear stands for it"):
        certify(case.given, small)
