"""Chains fitted to responses: against the weights' own truncation, and each refinement against the one before."""

import numpy as np
import pytest
import torch

from caffe_compat.decompose.responses import decompose_by_responses, recalibrate, reduced_rank, sample_responses
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import DataError, RankError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import format_text, parse_text
from tests.decompose.cases import draw_weights

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 4 dim: 9 dim: 7 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 12 kernel_h: 3 kernel_w: 2 group: 2 } }
layer { name: "relu_c" type: "ReLU" bottom: "c" top: "c" }
layer { name: "d" type: "Convolution" bottom: "c" top: "d" convolution_param { num_output: 10 kernel_size: 3 } }
layer { name: "relu_d" type: "ReLU" bottom: "d" top: "d" }
layer { name: "f" type: "InnerProduct" bottom: "d" top: "f" inner_product_param { num_output: 6 } }
"""
WEIGHTS = {"c": [[12, 2, 3, 2], [12]], "d": [[10, 12, 3, 3], [10]], "f": [[6, 200], [6]]}
RANKS = {"c": 6, "d": 4}


@pytest.fixture(scope="module")
def model():
    return Model(parse_text(NET, NetParameter), draw_weights(WEIGHTS))


@pytest.fixture(scope="module")
def batches():
    """Correlated channels, so that the data's directions differ from the weights'."""
    rng = np.random.default_rng(2)
    mixing = rng.standard_normal((4, 4)) * [2.0, 1.0, 0.3, 0.1]
    return [{"data": np.einsum("cd,ndhw->nchw", mixing, rng.standard_normal((8, 4, 9, 7)))} for _ in range(6)]


def error(model, other, batches, blob):
    """Relative squared error of a blob over all batches."""
    one, two = Net(model), Net(other)
    with torch.no_grad():
        pairs = [(one.blobs(**batch)[blob], two.blobs(**batch)[blob]) for batch in batches]
    return float(sum((a - b).square().sum() for a, b in pairs) / sum(a.square().sum() for a, _ in pairs))


def test_data_and_each_refinement_lower_the_error_of_the_outputs(model, batches):
    by_weights = decompose(model, RANKS)
    symmetric = decompose_by_responses(model, RANKS, batches, asymmetric=False, nonlinear=False, positions=30)
    asymmetric = decompose_by_responses(model, RANKS, batches, nonlinear=False, positions=30)
    nonlinear = decompose_by_responses(model, RANKS, batches, positions=30)
    assert format_text(by_weights.net) == format_text(nonlinear.net)
    errors = [error(model, each, batches, "d") for each in (by_weights, symmetric, asymmetric, nonlinear)]
    assert errors[0] > errors[1] > errors[2] > errors[3]


def test_full_rank_reproduces_the_net(model, batches):
    whole = decompose_by_responses(model, {"c": 12, "d": 10, "f": 6}, batches, positions=30)
    assert error(model, whole, batches, "f") < 1e-9


def test_the_symmetric_error_is_the_tail_of_the_responses_spectrum(model, batches):
    low = decompose_by_responses(model, {"d": 4}, batches, asymmetric=False, nonlinear=False)
    wanted, found = sample_responses(model, "d", batches), sample_responses(low, "d_linear", batches)
    centred = wanted - wanted.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    assert np.square(wanted - found).sum() == pytest.approx(np.square(values[4:]).sum(), rel=1e-4)


def test_reduced_rank_is_no_worse_than_any_other_pair():
    rng = np.random.default_rng(4)
    source, target = rng.standard_normal((200, 7)), rng.standard_normal((200, 5))
    mix, into = reduced_rank(target, source, 2)
    least = np.square(target - source @ into.T @ mix.T).sum()
    for _ in range(50):
        step = 1e-3 * rng.standard_normal(mix.shape), 1e-3 * rng.standard_normal(into.shape)
        assert np.square(target - source @ (into + step[1]).T @ (mix + step[0]).T).sum() >= least
    np.testing.assert_allclose(mix.T @ mix, np.eye(2), atol=1e-12)


def test_repeated_and_dead_channels_do_no_harm(model, batches):
    weight, bias = model.weights["c"]
    weight = weight.copy()
    weight[1], weight[2] = weight[0], 0
    flawed = Model(model.net, {**model.weights, "c": (weight, bias)})
    low = decompose_by_responses(flawed, {"c": 8}, batches)
    assert all(np.isfinite(blob).all() for blobs in low.weights.values() for blob in blobs)
    assert error(flawed, low, batches, "c") < error(flawed, decompose(flawed, {"c": 4}), batches, "c")


def test_a_layer_without_bias_gets_none(model, batches):
    net = type(model.net)()
    net.CopyFrom(model.net)
    net.layer[3].convolution_param.bias_term = False
    bare = Model(net, {**model.weights, "d": model.weights["d"][:1]})
    low = decompose_by_responses(bare, {"d": 4}, batches)
    assert len(low.weights["d_linear"]) == 1
    assert error(bare, low, batches, "d") < error(bare, decompose(bare, {"d": 4}), batches, "d")


def test_bad_input_is_said(model, batches):
    with pytest.raises(DataError, match="no batches are given"):
        decompose_by_responses(model, RANKS, [])
    with pytest.raises(
        RankError, match="layer 'c': rank 14 over 2 groups: rank 7 is out of range; the largest possible is 6"
    ):
        decompose_by_responses(model, {"c": 14}, batches)
    with pytest.raises(RankError, match="layer 'e', which is not in the net"):
        decompose_by_responses(model, {"e": 4}, batches)
    with pytest.raises(DataError, match="BatchNorm needs at least one"):
        recalibrate(model, [])


def test_recalibration_measures_each_batch_norm_behind_the_ones_before(batches):
    net = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 4 dim: 9 dim: 7 } } }
    layer { name: "one" type: "BatchNorm" bottom: "data" top: "one" }
    layer { name: "scale" type: "Scale" bottom: "one" top: "scale" scale_param { bias_term: true } }
    layer { name: "two" type: "BatchNorm" bottom: "scale" top: "two" }
    """
    weights = draw_weights({"one": [[4], [4], [1]], "scale": [[4], [4]], "two": [[4], [4], [1]]})
    measured = recalibrate(Model(parse_text(net, NetParameter), weights), batches).weights
    means, variances, second = [], [], []
    for batch in batches:
        data = np.asarray(batch["data"], np.float64)
        mean, variance = data.mean(axis=(0, 2, 3)), data.var(axis=(0, 2, 3))
        means.append(mean)
        variances.append(data.var(axis=(0, 2, 3), ddof=1))
        shift = (slice(None), None, None)
        normal = (data - mean[shift]) / np.sqrt(variance[shift] + 1e-5)
        scaled = normal * weights["scale"][0][shift] + weights["scale"][1][shift]
        second.append(scaled.mean(axis=(0, 2, 3)))
    count = measured["one"][2][0]
    assert count == len(batches)
    np.testing.assert_allclose(measured["one"][0] / count, np.mean(means, axis=0), atol=1e-5)
    np.testing.assert_allclose(measured["one"][1] / count, np.mean(variances, axis=0), rtol=1e-5)
    np.testing.assert_allclose(measured["two"][0] / measured["two"][2], np.mean(second, axis=0), atol=1e-5)
    np.testing.assert_array_equal(measured["scale"][0], weights["scale"][0])
