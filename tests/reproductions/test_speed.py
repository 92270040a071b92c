"""Speeds at published ranks: of the layers that the nets have, at the costs that the paper computes."""

from functools import partial

import pytest

import caffe_compat as cc
from reproductions.record import HERE
from reproductions.runs import read_runs
from reproductions.speed import (
    NETWORKS,
    WHOLE,
    Case,
    Convolution,
    Network,
    as_run,
    measures,
    on_the_cpu,
    theory,
    time_layer,
)
from tests.paper.published import published

SIZES = {"alexnet": 227, "vgg16": 224}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_those_of_the_net(name):
    layers = NETWORKS[name].layers
    net = cc.read_net(HERE / name / "train_test.prototxt")
    found, size, channels = {}, SIZES[name], 3
    for layer in net.layer:  # both nets are one chain
        if layer.type == "Convolution":
            p = layer.convolution_param
            pad, stride = (list(p.pad) or [0])[0], (list(p.stride) or [1])[0]
            kernel = p.kernel_size[0]
            found[layer.name] = Convolution(channels, size, p.num_output, kernel, pad, stride, p.group)
            size, channels = (size + 2 * pad - kernel) // stride + 1, p.num_output
        elif layer.type == "Pooling":
            size = -(-(size - layer.pooling_param.kernel_size) // layer.pooling_param.stride) + 1
    assert layers == found


def test_multiply_adds_of_alexnet_are_the_known_ones():
    costs = [layer.multiply_adds for layer in NETWORKS["alexnet"].layers.values()]
    assert costs == [105415200, 223948800, 149520384, 112140288, 74760192]  # 15.8, 33.6, 22.5, 16.8 and 11.2 %


@pytest.mark.parametrize(("force", "place"), [("none", 0), ("l2", 1)])
def test_the_theory_is_that_of_table_4(force, place):
    network = NETWORKS["alexnet"]
    case = network.cases[place]
    assert dict(case.ranks) == published("Table 4", f"AlexNet {force}", "rank")
    for layer, printed in published("Table 4", f"AlexNet {force}", "theoretical speedup").items():
        assert theory(layer, network, case) == pytest.approx(printed, abs=0.005)


def test_v_h_filters_cost_as_the_authors_example_says():
    case = next(case for case in NETWORKS["alexnet"].cases if "example" in case.name)
    found = [theory(layer, NETWORKS["alexnet"], case) for layer in ("conv2", "conv3", "conv4", "conv5")]
    assert found == pytest.approx([8.73, 2.19, 2.16, 1.99], abs=0.005)


def test_speedups_are_ratios_of_medians_and_the_whole_counts_dense_layers_too():
    layer = Convolution(8, 6, 16, 3, pad=1)
    case = Case("a case", {"b": 2}, {})
    network = Network({"a": layer, "b": layer}, 1, (case,))
    times = {"a": ([3.0, 3.0, 9.0], {}), "b": ([6.0, 6.0, 6.0], {"a case": [2.0, 3.0, 9.0]})}
    found = measures(network, case, times)
    assert found["CPU speedup", "b"] == 2.0
    assert found["CPU speedup", WHOLE] == (3 + 6) / (3 + 3)
    cheaper = 16 * 72 / (2 * 72 + 16 * 2)
    assert found["theoretical speedup", "b"] == pytest.approx(cheaper)
    assert found["theoretical speedup", WHOLE] == pytest.approx(2 / (1 + 1 / cheaper))
    run = as_run("alexnet", network, case, found, times, "")
    assert "ranks given: b 2" in run.note and run.ranks == {}  # what is given was not measured


def test_a_layer_is_timed_beside_its_chains():
    case = Case("a case", {"a": 2}, {})
    network = Network({"a": Convolution(8, 6, 16, 3, pad=1)}, 2, (case, Case("other", {}, {})))
    dense, chains = time_layer("a", network, partial(on_the_cpu, rounds=3))
    assert len(dense) == 3 and list(chains) == ["a case"] and min(*dense, *chains["a case"]) > 0


def test_the_recorded_rows_answer_rows_of_the_paper_that_have_cpu_speedups():
    for run in read_runs("alexnet"):
        for row in run.paper if run.experiment == "speed" else ():
            assert published(*row.split(": ", 1), "CPU speedup")
