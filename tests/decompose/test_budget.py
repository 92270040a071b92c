"""Ranks under a budget: against trying everything, against counted costs, and never dearer than dense."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.decompose.bank import FilterBank
from caffe_compat.decompose.budget import Choice, analytic_table, kept_energy, ranks_by_budget, solve
from caffe_compat.decompose.factorize import factorize
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import RankError
from caffe_compat.net.cost import cost
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.decompose.cases import draw_weights

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 12 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 12 kernel_h: 3 kernel_w: 5 stride: 2 pad_h: 1 group: 2 } }
layer { name: "d" type: "Convolution" bottom: "c" top: "d"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "dw" type: "Convolution" bottom: "d" top: "dw"
  convolution_param { num_output: 16 kernel_size: 3 group: 16 bias_term: false } }
layer { name: "f" type: "InnerProduct" bottom: "dw" top: "f" inner_product_param { num_output: 7 } }
"""
WEIGHTS = {"c": [[12, 2, 3, 5], [12]], "d": [[16, 12, 3, 3]], "dw": [[16, 1, 3, 3]], "f": [[7, 64], [7]]}


@pytest.fixture
def model():
    weights = draw_weights(WEIGHTS)
    for name in ("c", "d"):  # spectra that fall, as trained ones do
        blob = weights[name][0]
        weights[name] = (
            blob * (1.5 ** -np.arange(len(blob), dtype=np.float32))[:, None, None, None],
            *weights[name][1:],
        )
    return Model(parse_text(NET, NetParameter), weights)


@pytest.mark.parametrize("unit", ["multiply_adds", "parameters"])
@pytest.mark.parametrize("method", ["pca", "separable"])
@pytest.mark.parametrize("name", ["c", "d"])
def test_costs_in_the_table_are_those_of_the_decomposed_net(model, unit, method, name):
    whole = getattr(cost(model), unit)
    choices = analytic_table(model, unit, [method])[name]
    assert choices[0].rank is None and len(choices) > 2
    for choice in choices[1:]:
        small = decompose(model, {name: choice.rank}, method)
        assert getattr(cost(small), unit) == whole - choices[0].cost + choice.cost


@pytest.mark.parametrize("method", ["pca", "separable"])
def test_kept_energy_is_what_the_reconstruction_keeps(model, method):
    weight = model.weights["c"][0].astype(np.float64)
    for rank, kept in kept_energy(FilterBank("c", weight, None, 2), method).items():
        error = np.square(weight - factorize(weight, rank, method, 2).reconstruct()).sum() / np.square(weight).sum()
        assert kept == pytest.approx(1 - error, abs=1e-9)


@pytest.mark.parametrize("unit", ["multiply_adds", "parameters"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9, 1.0])
def test_a_plan_meets_its_budget_and_says_its_cost(model, unit, share):
    plan = ranks_by_budget(model, share, unit, ("pca", "separable"))
    small = decompose(model, plan.ranks, plan.methods)
    assert getattr(cost(model), unit) == plan.before
    assert getattr(cost(small), unit) == pytest.approx(plan.after)
    assert plan.after <= share * plan.before
    assert "dw" not in plan.ranks
    assert (share == 1.0) == (plan.ranks == {})


def test_every_group_gets_a_multiple(model):
    plan = ranks_by_budget(model, 0.3, multiple=2)
    assert plan.ranks and all(rank % {"c": 4, "d": 2}[name] == 0 for name, rank in plan.ranks.items())


@st.composite
def tables(draw):
    table = {}
    for layer in range(draw(st.integers(1, 4))):
        dense = draw(st.integers(5, 40))
        lows = draw(st.lists(st.tuples(st.integers(1, 50), st.floats(0.1, 1)), max_size=4))
        chains = [Choice("pca", index + 1, float(cost), kept) for index, (cost, kept) in enumerate(lows)]
        table[f"layer{layer}"] = [Choice("dense", None, float(dense)), *chains]
    return table


@settings(max_examples=80, deadline=None)
@given(tables(), st.floats(0.2, 0.99), st.integers(0, 30))
def test_the_knapsack_is_as_good_as_trying_everything(table, share, fixed):
    before = fixed + sum(choices[0].cost for choices in table.values())
    fits = [
        math.prod(choice.kept for choice in choices)
        for choices in itertools.product(*table.values())
        if fixed + sum(choice.cost for choice in choices) <= share * before * (1 - 1e-3)
    ]
    try:
        plan = solve(table, share, fixed)
    except RankError:
        assert not fits
        return
    assert plan.after <= share * before * (1 + 1e-12)
    kept = math.prod(
        next(
            choice.kept
            for choice in choices
            if (choice.rank, choice.method) == (plan.ranks.get(name), plan.methods.get(name, "dense"))
        )
        for name, choices in table.items()
    )
    assert not fits or kept >= max(fits) * (1 - 1e-9)


def test_a_layer_whose_chains_all_cost_more_stays_dense():
    table = {
        "a": [Choice("dense", None, 1.0), Choice("pca", 4, 1.2, 0.9)],
        "b": [Choice("dense", None, 9.0), Choice("pca", 2, 3.0, 0.8)],
    }
    assert solve(table, 0.7).ranks == {"b": 2}


@pytest.mark.parametrize(
    "share, unit, methods, said",
    [
        (0.001, "parameters", ("pca",), "budget 0.001 cannot be met; the least that ranks can reach is 0."),
        (1.5, "parameters", ("pca",), "budget is 1.5; it must be above 0 and at most 1"),
        (0.5, "flops", ("pca",), "unit is 'flops'; known: multiply_adds, parameters"),
        (0.5, "parameters", ("kmeans",), "method is 'kmeans'; a budget chooses among pca, svd and separable"),
    ],
)
def test_impossible_budgets_are_said(model, share, unit, methods, said):
    with pytest.raises(RankError) as caught:
        ranks_by_budget(model, share, unit, methods)
    assert said in str(caught.value)


TWINS = """
layer { name: "data" type: "Input" top: "data" top: "other"
  input_param { shape { dim: 1 dim: 6 dim: 9 dim: 8 } shape { dim: 1 dim: 6 dim: 5 dim: 7 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 16 kernel_size: 3 } }
layer { name: "twin" type: "Convolution" bottom: "other" top: "twin" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 16 kernel_size: 3 } }
layer { name: "c" type: "Convolution" bottom: "a" top: "c" convolution_param { num_output: 12 kernel_size: 3 } }
"""


@pytest.mark.parametrize("stored", [("a", "twin", "c"), ("a", "c")])
@pytest.mark.parametrize("unit", ["multiply_adds", "parameters"])
def test_layers_that_share_a_weight_get_one_rank_and_the_cost_is_that_of_the_net(unit, stored):
    weights = draw_weights({"a": [[16, 6, 3, 3], [16]], "c": [[12, 16, 3, 3], [12]]})
    weights["twin"] = weights["a"]
    twins = Model(parse_text(TWINS, NetParameter), {name: weights[name] for name in stored})
    plan = ranks_by_budget(twins, 0.5, unit, ("pca", "separable"))
    assert plan.ranks["a"] == plan.ranks["twin"] and plan.methods["a"] == plan.methods["twin"]
    small = decompose(twins, plan.ranks, plan.methods)
    assert getattr(cost(twins), unit) == plan.before
    assert getattr(cost(small), unit) == plan.after <= 0.5 * plan.before
