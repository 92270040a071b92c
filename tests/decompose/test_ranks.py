"""Rank rules against the fork's own ranks, plain loops and each other."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.decompose.evbmf import evbmf_rank
from caffe_compat.decompose.ranks import (
    energies,
    rank_by_energy,
    rank_by_norm,
    ranks_by_energy,
    ranks_by_evbmf,
    ranks_by_norm,
    ranks_in_order,
    read_ranks,
    round_ranks,
)
from caffe_compat.errors import RankError, WeightsError
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.decompose.test_factorize import CASES, weight_of

RULES = {"pca": rank_by_energy, "svd": rank_by_norm}


def ratios():
    """Every ratio that is not decided by rounding: margin of at least 1e-5 and below 1 (README-solver)."""
    for case in CASES.values():
        for method in RULES:
            for index, rank in enumerate(case.get(f"{method}_ranks", ())):
                if case[f"{method}_margin"][index] >= 1e-5 and case["ratios"][index] < 1:
                    yield case["name"], method, case["ratios"][index], rank


@pytest.mark.parametrize("name, method", sorted({(name, method) for name, method, _, _ in ratios()}))
def test_ranks_are_the_forks(name, method):
    weight = weight_of(CASES[name])
    wanted = {ratio: rank for case, rule, ratio, rank in ratios() if (case, rule) == (name, method)}
    assert {ratio: RULES[method](weight, ratio) for ratio in wanted} == wanted


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.999))
def test_rank_by_energy_is_the_first_whose_running_sum_reaches_the_share(seed, keep):
    weight = np.random.default_rng(seed).standard_normal((7, 2, 3, 1))
    values = np.linalg.svd(weight.reshape(7, -1), compute_uv=False) ** 2
    running, wanted = 0.0, 0
    while running < keep * values.sum():
        running += values[wanted]
        wanted += 1
    assert rank_by_energy(weight, keep) == wanted
    assert rank_by_norm(weight, np.sqrt(keep)) == wanted


def test_a_share_that_is_met_exactly_takes_no_further_rank():
    weight = np.diag([4.0, 2.0, 2.0, 1.0])  # energies 16 4 4 1 of 25: shares .64 .8 .96 1
    assert [rank_by_energy(weight, keep) for keep in (0.64, 0.8, 0.81, 0.96, 1.0)] == [1, 2, 3, 3, 4]
    assert rank_by_norm(weight, 0.8) == 1


def test_each_group_keeps_its_share():
    one, two = np.diag([1.0, 1e-3, 0, 0]), np.eye(4)
    assert rank_by_energy(np.concatenate([one, two]), 0.9, group=2) == 2 * 4


def test_a_zero_weight_has_rank_one():
    assert rank_by_energy(np.zeros((4, 3, 2, 2)), 0.95) == 1


def test_energies_are_squared_singular_values():
    weight = np.random.default_rng(0).standard_normal((9, 2, 2, 3))
    np.testing.assert_allclose(energies(weight), np.linalg.svd(weight.reshape(9, -1), compute_uv=False) ** 2)
    assert len(energies(weight[:, :1, :1])) == 3


@pytest.mark.parametrize("keep", [0, -0.5, 1.01, 95])
def test_a_share_outside_zero_to_one_is_refused(keep):
    with pytest.raises(RankError, match=f"keep is {keep}; it must be above 0 and at most 1"):
        rank_by_energy(np.eye(3), keep)


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 9 dim: 7 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param { num_output: 6 kernel_size: 3 } }
layer { name: "dw" type: "Convolution" bottom: "c1" top: "dw"
  convolution_param { num_output: 6 kernel_size: 3 group: 6 } }
layer { name: "c2" type: "Convolution" bottom: "dw" top: "c2"
  convolution_param { num_output: 8 kernel_size: 1 group: 2 bias_term: false } }
layer { name: "f" type: "InnerProduct" bottom: "c2" top: "f" inner_product_param { num_output: 5 } }
"""


@pytest.fixture
def model():
    rng = np.random.default_rng(1)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    weights = {
        "c1": (draw(6, 4, 3, 3), draw(6)),
        "dw": (draw(6, 1, 3, 3), draw(6)),
        "c2": (draw(8, 3, 1, 1),),
        "f": (draw(5, 120), draw(5)),
    }
    return Model(parse_text(NET, NetParameter), weights)


def test_ranks_of_a_net_are_those_of_its_banks_in_order(model):
    wanted = {
        "c1": rank_by_energy(model.weights["c1"][0], 0.8),
        "c2": rank_by_energy(model.weights["c2"][0], 0.8, group=2),
    }
    assert list(ranks_by_energy(model, 0.8).items()) == list(wanted.items())
    wanted["f"] = rank_by_energy(model.weights["f"][0], 0.8)
    assert list(ranks_by_energy(model, 0.8, inner_product=True).items()) == list(wanted.items())
    assert list(ranks_by_energy(model, 0.8, except_layers=["c1"])) == ["c2"]
    assert ranks_by_norm(model, 0.8)["c1"] == rank_by_norm(model.weights["c1"][0], 0.8)


def test_an_excepted_layer_that_is_not_there_is_named(model):
    with pytest.raises(RankError, match=r"layer 'c11', which is not in the net; did you mean 'c1'\?"):
        ranks_by_energy(model, 0.8, except_layers=["c11"])


def test_weights_that_are_missing_short_or_not_finite_are_named(model):
    with pytest.raises(WeightsError, match="layer 'c1' has 0 of 2 blobs"):
        ranks_by_energy(Model(model.net, {}), 0.8)
    with pytest.raises(WeightsError, match=r"layer 'c1': blob 0 is .*does not fit num_output 6"):
        ranks_by_energy(
            Model(model.net, {**model.weights, "c1": model.weights["dw"][:0] + (np.ones((5, 4, 3, 3)),) * 2}), 0.8
        )
    with pytest.raises(WeightsError, match="layer 'c1': blob 1 has values that are not finite"):
        ranks_by_energy(Model(model.net, {**model.weights, "c1": (model.weights["c1"][0], np.full(6, np.inf))}), 0.8)


def test_ranks_in_order_are_dealt_to_the_layers_and_all_used(model):
    assert ranks_in_order(model, [3, 4]) == {"c1": 3, "c2": 4}
    assert ranks_in_order(model, [3, 2], inner_product=True, except_layers=["c2"]) == {"c1": 3, "f": 2}
    for values in ([3], [3, 4, 5]):
        with pytest.raises(RankError, match=f"{len(values)} ranks were given for 2 layers: c1, c2"):
            ranks_in_order(model, values)


def test_ranks_are_read_from_json(tmp_path):
    path = tmp_path / "ranks.json"
    path.write_text('{"conv3": 150, "conv4": [40, 60]}')
    assert read_ranks(path) == {"conv3": 150, "conv4": (40, 60)}


@pytest.mark.parametrize(
    "text, said",
    [
        ("[1, 2]", "a JSON object of layers and ranks is wanted, found a list"),
        ('{"conv3": "x"}', "layer 'conv3': rank is 'x'; a whole number, or a list of them, is wanted"),
        ('{"conv3": 1.5}', "layer 'conv3': rank is 1.5"),
        ('{"conv3": []}', r"layer 'conv3': rank is \[\]"),
        ('{"conv3" 1}', "ranks.json: a JSON object of layers and ranks is wanted, and this is no JSON"),
    ],
)
def test_bad_rank_files_are_said_in_one_line(tmp_path, text, said):
    path = tmp_path / "ranks.json"
    path.write_text(text)
    with pytest.raises(RankError, match=said) as caught:
        read_ranks(path)
    assert "\n" not in str(caught.value)


def test_rounding_goes_up_within_each_group_and_stops_at_the_largest(model):
    ranks = {"c1": 3, "c2": 2, "f": 5}
    assert round_ranks(model, ranks, 2) == {"c1": 4, "c2": 4, "f": 5}
    assert round_ranks(model, ranks, 4) == {"c1": 4, "c2": 6, "f": 5}
    with pytest.raises(RankError, match="multiple is 0"):
        round_ranks(model, ranks, 0)


@pytest.mark.parametrize("shape, rank", [((30, 50), 4), ((64, 40), 3), ((20, 300), 6)])
def test_evbmf_finds_the_rank_under_noise_at_any_scale(shape, rank):
    rng = np.random.default_rng(2)
    signal = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    for scale in (1e-3, 1.0, 1e3):
        assert evbmf_rank(scale * (signal + 0.1 * rng.standard_normal(shape))) == rank


def test_evbmf_finds_nothing_in_noise_or_zeros():
    assert evbmf_rank(np.random.default_rng(4).standard_normal((40, 60))) == 0
    assert evbmf_rank(np.zeros((4, 6))) == 0


def test_evbmf_ranks_are_pairs_for_layers_with_a_kernel(model):
    ranks = ranks_by_evbmf(model)
    assert list(ranks) == ["c1"] and all(rank >= 1 for rank in ranks["c1"])
    json.dumps(ranks)
