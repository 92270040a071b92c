"""What the methods around the paper cost: an iteration of cifar10_full with one, beside one without; pruning GoogLeNet.

Two solvers, one with the method and one without, take turns on two threads; the figure is the median of the ratios of
neighbouring iterations. CPU time (of all threads together) is printed too, for it does not see what else the machine
does.

Run: OMP_NUM_THREADS=2 python -m pytest -m benchmark -s tests/benchmarks/test_methods.py
"""

import statistics
import time
from functools import partial

import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.graph.channels import couple_channels
from caffe_compat.graph.graph import build_graph
from caffe_compat.proto.schema import NetParameter, SolverParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver.methods.method import Shaping
from tests.benchmarks.test_cifar10_full_iteration import CIFAR10_FULL
from tests.conftest import shared

ROUNDS, WARM_UP = 40, 5
LAYERS = 2000
FAR = 1_000_000  # iterations of a schedule that does not end while it is timed

# fields of the solver, of each weight's param, of each convolution; the share of an iteration that is allowed
METHODS = {
    "force, l2": ('force_type: "Degradation" force_decay: 1e-4', "force_mult: 1", "", 0.05),
    "force, l1": ('force_type: "Constant" force_decay: 1e-4', "force_mult: 1", "", 0.05),
    "OrthoReg": ("ortho_decay: 1e-3", "ortho_mult: 1", "", 0.05),
    "OCNN": ('ortho_decay: 1e-3 ortho_type: "OCNN"', "ortho_mult: 1", "", 0.15),
    "sparse group lasso": ("sparse_group_decay: 1e-4", "sparse_group_mult: 1", "", 0.05),
    "SSL": (
        "breadth_decay: 1e-3 kernel_shape_decay: 1e-3",
        "breadth_decay_mult: 1 kernel_shape_decay_mult: 1",
        "",
        0.05,
    ),
    "GReg-1": ('growing_reg: "GReg-1"', "", "prune_param { prune_ratio: 0.5 }", 0.05),
    "GReg-2": ('growing_reg: "GReg-2"', "", "prune_param { prune_ratio: 0.5 }", 0.05),
    "IncReg Reg_Col": ('prune_method: "Reg_Col" AA: 1e-6 target_reg: 1', "", "prune_param { prune_ratio: 0.5 }", 0.05),
    "IncReg Reg_Row": ('prune_method: "Reg_Row" AA: 1e-6 target_reg: 1', "", "prune_param { prune_ratio: 0.5 }", 0.05),
    "SFP": (f'prune_method: "SFP" prune_rate: 0.5 prune_interval: 10 prune_max_iter: {FAR}', "", "", 0.05),
    "Power of Sparsity": ("", "", "convolution_param { connection_density: 0.5 connection_seed: 1 }", 0.05),
    "Group Fisher": ("fisher_pruning { max_prunings: 30 interval: 25 }", "", "", 0.35),
}


def solver(fields="", of_param="", of_layer=""):
    net = parse_text(CIFAR10_FULL, NetParameter)
    for layer in net.layer:
        if layer.type == "Convolution":
            layer.MergeFrom(parse_text(f"param {{ {of_param} }} {of_layer}", type(layer)))
    plain = 'base_lr: 1e-4 momentum: 0.9 weight_decay: 0.004 lr_policy: "fixed" max_iter: 1000000'
    param = parse_text(f"{plain} snapshot_after_train: false {fields}", SolverParameter)
    param.net_param.CopyFrom(fed_by_itself(net))
    torch.manual_seed(0)
    return cc.Solver(param)


def fed_by_itself(net):
    """Random images that the net makes for itself, once: the data's own time is no part of this."""
    source = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
      shape { dim: 100 dim: 3 dim: 32 dim: 32 } shape { dim: 100 }
      data_filler { type: "gaussian" } data_filler { type: "constant" value: 3 } } }"""
    layers = list(net.layer)[1:]
    del net.layer[:]
    net.MergeFrom(parse_text(source, NetParameter))
    net.layer.extend(layers)
    return net


def paired(first, second):
    """(wall, CPU) seconds of both in turns, which changes who begins."""
    times = {name: ([], []) for name in ("first", "second")}
    for turn in range(WARM_UP + ROUNDS):
        order = (("first", first), ("second", second))
        for name, side in order if turn % 2 else order[::-1]:
            wall, cpu = time.perf_counter(), time.process_time()
            side()
            if turn >= WARM_UP:
                times[name][0].append(time.perf_counter() - wall)
                times[name][1].append(time.process_time() - cpu)
    return times["first"], times["second"]


def ratios(name, with_it, without):
    """The median of the ratios in wall time; printed with that of the CPU's, and their quartiles."""
    found = []
    for clock, one, other in zip(("wall", "CPU"), with_it, without, strict=True):
        each = [a / b for a, b in zip(one, other, strict=True)]
        low, middle, high = statistics.quantiles(each, n=4)
        found.append(middle)
        print(
            f"{name}: {clock} {middle:.3f} ({low:.3f} to {high:.3f}), {1000 * statistics.median(other):.1f} ms without"
        )
    return found[0]


@pytest.mark.benchmark
@pytest.mark.parametrize("name", METHODS)
def test_a_method_costs_little_of_an_iteration(name):
    *fields, allowed = METHODS[name]
    with_it, without = solver(*fields), solver()
    assert ratios(name, *paired(partial(with_it.step, 1), partial(without.step, 1))) < 1 + allowed
    assert with_it.iteration == without.iteration == WARM_UP + ROUNDS


def test_without_its_fields_no_method_is_made_nor_asked(monkeypatch):
    """Off costs nothing: a plain solver has no method, and never enters their step."""
    for hook in ("before_pass", "after_pass", "regularize", "after_update"):
        monkeypatch.setattr(Shaping, hook, lambda *given: pytest.fail("a method was asked"))
    plain = solver()
    assert not plain._shaping.methods
    plain.step(1)


@pytest.mark.benchmark
def test_pruning_googlenet_by_exemplars_takes_less_than_8_seconds(tmp_path):
    folder = shared("models/googlenet")
    words = ["prune", str(folder / "deploy.prototxt"), str(folder / "bvlc_googlenet.caffemodel")]
    wall, cpu = time.perf_counter(), time.process_time()
    assert main([*words, "--criterion", "eprune", "--out", str(tmp_path / "small")]) == 0
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"GoogLeNet by eprune: {wall:.2f} s, CPU {cpu:.2f} s")
    assert wall < 8


@pytest.mark.benchmark
def test_classes_of_2000_layers_are_found_in_less_than_300_milliseconds():
    """Blocks of a residual net: convolution, BatchNorm, Scale, ReLU, convolution, sum, Split."""
    text = ['layer { name: "data" type: "Input" top: "x0" input_param { shape { dim: 1 dim: 8 dim: 4 dim: 4 } } }']
    for n in range(LAYERS // 7):
        conv = "convolution_param { num_output: 8 kernel_size: 1 }"
        text.append(
            f'layer {{ name: "a{n}" type: "Convolution" bottom: "x{n}" top: "a{n}" {conv} }}'
            f'layer {{ name: "bn{n}" type: "BatchNorm" bottom: "a{n}" top: "a{n}" }}'
            f'layer {{ name: "s{n}" type: "Scale" bottom: "a{n}" top: "a{n}" }}'
            f'layer {{ name: "r{n}" type: "ReLU" bottom: "a{n}" top: "a{n}" }}'
            f'layer {{ name: "b{n}" type: "Convolution" bottom: "a{n}" top: "b{n}" {conv} }}'
            f'layer {{ name: "e{n}" type: "Eltwise" bottom: "x{n}" bottom: "b{n}" top: "x{n + 1}" }}'
        )
    graph = build_graph(parse_text("\n".join(text), NetParameter), "TEST")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        found = couple_channels(graph)
        times.append(time.perf_counter() - start)
    print(f"classes of {len(graph.nodes)} layers: median {1000 * statistics.median(times):.0f} ms")
    assert len(found.classes) > LAYERS // 7 and min(times) < 0.3
