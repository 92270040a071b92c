"""Low rank that is really faster: AlexNet at the paper's ranks, latency budgets, and how long decomposing takes."""

from __future__ import annotations

import os
import platform
import statistics
import time

import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import shared
from tests.decompose.cases import draw_weights
from tests.paper.published import published

pytestmark = pytest.mark.benchmark

BATCH = int(os.environ.get("CAFFE_COMPAT_BATCH", "64"))
LAYERS = {"conv3": (256, 384, 1), "conv4": (384, 384, 2), "conv5": (384, 256, 2)}  # channels, filters, groups
ROUNDS = 15


def alone(name: str) -> Model:
    """One of AlexNet's last three Convolutions on its 13 x 13 input, with random weights."""
    channels, filters, group = LAYERS[name]
    net = f"""
    layer {{ name: "data" type: "Input" top: "data"
      input_param {{ shape {{ dim: {BATCH} dim: {channels} dim: 13 dim: 13 }} }} }}
    layer {{ name: "{name}" type: "Convolution" bottom: "data" top: "out"
      convolution_param {{ num_output: {filters} kernel_size: 3 pad: 1 group: {group} }} }}
    """
    weights = draw_weights({name: [[filters, channels // group, 3, 3], [filters]]})
    return Model(parse_text(net, NetParameter), weights)


def speedups(models: list[Model], data: torch.Tensor) -> list[tuple[float, float]]:
    """Ratio of medians of the first model's time to each other's, and the interquartile range of the rounds' ratios."""
    nets = [cc.Net(model).eval() for model in models]
    times = cc.compare_time(nets, {"data": data}, ROUNDS)
    found = []
    for low in times[1:]:
        ratios = statistics.quantiles([dense / each for dense, each in zip(times[0], low, strict=True)], n=4)
        found.append((statistics.median(times[0]) / statistics.median(low), ratios[2] - ratios[0]))
    return found


def circumstances() -> str:
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


@pytest.mark.parametrize("name", LAYERS)
def test_alexnet_is_faster_at_the_papers_ranks_nearly_as_its_multiply_adds_say(name):
    channels, filters, group = LAYERS[name]
    dense = alone(name)
    ranks = {force: int(published("Table 4", f"AlexNet {force}", "rank")[name]) for force in ("none", "l2")}
    data = torch.randn(BATCH, channels, 13, 13).contiguous(memory_format=torch.channels_last)
    found = speedups([dense, *(cc.decompose(dense, {name: rank}) for rank in ranks.values())], data)
    for (force, rank), (speedup, spread) in zip(ranks.items(), found, strict=True):
        theory = cc.theoretical_speedup((filters, channels // group, 3, 3), rank // group * group, group)
        paper = published("Table 4", f"AlexNet {force}", "CPU speedup")[name]
        print(
            f"{name} {force} rank {rank}: {speedup:.2f}x +-{spread:.2f}, theory {theory:.2f}, paper's CPU {paper:.2f}"
        )
        assert speedup >= 0.85 * theory, circumstances()
        if force == "l2":
            assert speedup >= paper, circumstances()


def test_a_latency_plan_is_never_slower_than_dense():
    dense = alone("conv4")
    for share in (0.5, 0.7, 0.9):
        plan = cc.ranks_by_latency(dense, share)
        low = cc.decompose(dense, plan.ranks, plan.methods)
        ((speedup, spread),) = speedups([dense, low], torch.randn(BATCH, 384, 13, 13))
        print(f"budget {share}: {plan.ranks} {plan.methods}: {speedup:.2f}x +-{spread:.2f}")
        assert speedup >= 0.97 if plan.ranks else speedup > 0.9, circumstances()


def test_googlenet_is_decomposed_with_reading_and_writing_in_ten_seconds(tmp_path):
    folder = shared("models", "googlenet")
    began = time.perf_counter()
    model = cc.read_model(folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel")
    small = cc.decompose(model, cc.ranks_by_energy(model, keep=0.95))
    cc.write_model(small, tmp_path / "g.prototxt", tmp_path / "g.caffemodel")
    seconds = time.perf_counter() - began
    print(f"GoogLeNet, 57 convolutions: {seconds:.2f} s, {circumstances()}")
    assert len(small.net.layer) == len(model.net.layer) + 57
    assert seconds < 10
