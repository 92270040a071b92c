"""Ranks under a measured time, with a clock that the test moves, and with the real one."""

import pytest

from caffe_compat.decompose import latency
from caffe_compat.decompose.latency import measured_table, ranks_by_latency
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import RankError
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.decompose.cases import draw_weights

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 8 dim: 12 dim: 10 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" include { phase: TEST }
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "d" type: "Convolution" bottom: "c" top: "d" convolution_param { num_output: 24 kernel_size: 3 } }
"""


@pytest.fixture
def model():
    return Model(parse_text(NET, NetParameter), draw_weights({"c": [[32, 4, 3, 3], [32]], "d": [[24, 32, 3, 3], [24]]}))


def width(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.fixture
def clock_of_parameters(monkeypatch):
    """Every net takes a second for each of its parameters, but chains of layer d take 100 times as long."""

    def fake(nets, inputs, rounds=7):
        slow = 100 if "d_v" in nets[-1].params or "d_linear" in nets[-1].params else 1
        return [[float(width(net) * (slow if index else 1))] * 3 for index, net in enumerate(nets)]

    monkeypatch.setattr(latency, "compare_time", fake)


def test_only_chains_that_measured_faster_are_choices(model, clock_of_parameters):
    table = measured_table(model, ("pca", "separable"), multiple=2)
    assert [choice.method for choice in table["d"]] == ["dense"]
    assert {choice.method for choice in table["c"]} == {"dense", "pca", "separable"}
    assert all(choice.cost < table["c"][0].cost for choice in table["c"][1:])
    assert all(choice.rank % 4 == 0 for choice in table["c"][1:])


def test_a_plan_in_time_meets_its_budget_and_never_touches_a_layer_that_would_slow_down(model, clock_of_parameters):
    plan = ranks_by_latency(model, 0.97, multiple=2)
    assert list(plan.ranks) == ["c"] and plan.after <= 0.97 * plan.before
    decompose(model, plan.ranks, plan.methods)
    with pytest.raises(RankError, match=r"budget 0.5 cannot be met; the least that ranks can reach is 0\.88"):
        ranks_by_latency(model, 0.5, multiple=2)


def test_a_chain_that_is_slower_when_timed_again_is_no_part_of_a_plan(model, monkeypatch):
    """Only the first measurement of a layer, that with all its chains, finds them faster."""

    def fake(nets, inputs, rounds=7):
        return [[1.0 if index == 0 else 0.5 if len(nets) > 2 else 1.1] * 3 for index in range(len(nets))]

    monkeypatch.setattr(latency, "compare_time", fake)
    assert len(measured_table(model, ("pca",), multiple=4)["d"]) > 1
    with pytest.raises(RankError, match=r"budget 0\.7 cannot be met"):
        ranks_by_latency(model, 0.7, ("pca",), multiple=4)


def test_times_kept_in_a_file_are_not_measured_again(model, clock_of_parameters, tmp_path, monkeypatch):
    first = measured_table(model, ("pca",), multiple=4, kept_in=tmp_path / "times.json")
    monkeypatch.setattr(latency, "compare_time", None)
    assert measured_table(model, ("pca",), multiple=4, kept_in=tmp_path / "times.json") == first
    with pytest.raises(TypeError):  # other chains have not been measured
        measured_table(model, ("pca",), multiple=2, kept_in=tmp_path / "times.json")


def test_times_measured_before_an_interrupt_are_kept(model, clock_of_parameters, tmp_path, monkeypatch):
    whole, measure, asked = measured_table(model, ("pca",), multiple=4), latency._time_layer, []

    def stopped_at(name):
        def fake(model, layer, *rest):
            asked.append(layer)
            if layer == name:
                raise KeyboardInterrupt
            return measure(model, layer, *rest)

        return fake

    monkeypatch.setattr(latency, "_time_layer", stopped_at("d"))
    with pytest.raises(KeyboardInterrupt):
        measured_table(model, ("pca",), multiple=4, kept_in=tmp_path / "times.json")
    monkeypatch.setattr(latency, "_time_layer", stopped_at("c"))
    assert measured_table(model, ("pca",), multiple=4, kept_in=tmp_path / "times.json") == whole
    assert asked == ["c", "d", "d"]


def test_a_file_that_holds_no_times_is_named(model, tmp_path):
    (tmp_path / "times.json").write_text("[1, 2]")
    with pytest.raises(RankError, match=r"times\.json: is no table of measured times"):
        measured_table(model, ("pca",), multiple=4, kept_in=tmp_path / "times.json")


def test_real_measurement_gives_a_table_of_seconds(model):
    table = measured_table(model, ("pca",), multiple=4, grid=2)
    assert list(table) == ["c", "d"]
    assert all(0 < choice.cost < 5 for choices in table.values() for choice in choices)
