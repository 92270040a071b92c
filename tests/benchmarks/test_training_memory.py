"""Tensor bytes at the peak of a training iteration beside what Caffe keeps for the same net and batch.

Ours: what torch's allocator has given out at the fullest moment, weights and history included, from the profiler's
events of memory over a run of `solve`. Caffe's: computed from the shapes, its process's base and its libraries' work
space left out: of every blob data and diff, of every learnable blob data, diff and history; tops in place, and the
data of Split's tops, are counted once (net.cpp, split_layer.cpp), the gradients of data and labels not at all; beside
them the masks of MAX pooling and Dropout, the scale of LRN, and the largest column buffer (base_conv_layer.cpp).

Run: OMP_NUM_THREADS=2 python -m pytest -m benchmark -s tests/benchmarks/test_training_memory.py
"""

from __future__ import annotations

import itertools
import math
import platform
from pathlib import Path
from typing import Any

import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.schema import NetParameter, SolverParameter
from caffe_compat.proto.text import parse_text

pytestmark = pytest.mark.benchmark

HOME = Path(cc.__file__).parent.parent / "reproductions"
NETS = {"alexnet": (32, 227, 1000), "googlenet": (16, 224, 1000), "vgg16": (4, 224, 1000)}  # batch, size, classes
SOLVER = """base_lr: 0.0001 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" max_iter: 2
  snapshot_after_train: false"""
WANTED = 0.70
_NO_COPY = {"Split", "Flatten", "Reshape"}  # whose tops share the bottom's data


def solver_of(name: str, folder: Path) -> cc.Solver:
    """A solver for the net that its reproduction trains, on made-up data."""
    batch, size, _ = NETS[name]
    net = parse_text((HOME / name / "train_test.prototxt").read_text(), NetParameter)
    data = f"""layer {{ name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {{
      shape {{ dim: {batch} dim: 3 dim: {size} dim: {size} }} shape {{ dim: {batch} }}
      data_filler {{ type: "gaussian" std: 50 }} data_filler {{ type: "constant" value: 7 }} }} }}"""
    solver = parse_text(SOLVER, SolverParameter)
    solver.snapshot_prefix = str(folder / name)
    solver.net_param.CopyFrom(parse_text(data, NetParameter))
    solver.net_param.layer.extend(layer for layer in net.layer if layer.type != "Data")
    return cc.Solver(solver)


def caffes_bytes(net: cc.Net) -> int:
    """What Caffe keeps, see above."""
    total = sum(3 * param.tensor.numel() for param in net.learnable_params)
    columns = 0
    shapes: dict[Any, tuple[int, ...]] = {}
    needs: dict[Any, bool] = {}
    for node, layer in net.steps:
        learns = any(blob.requires_grad for blob in layer.blobs)
        tops = layer.top_shapes([shapes[each] for each in node.bottoms]) if node.bottoms else None
        tops = tops or [net.shapes[top.name] for top in node.tops]
        for top, shape in zip(node.tops, tops, strict=True):
            shapes[top] = shape
            needs[top] = learns or any(needs[each] for each in node.bottoms)
            if node.bottoms and top.name == node.bottoms[0].name:
                continue
            total += math.prod(shape) * ((node.param.type not in _NO_COPY) + needs[top])
        if node.param.type in ("Pooling", "Dropout", "LRN"):
            is_kept = node.param.type != "Pooling" or node.param.pooling_param.pool == 0
            total += math.prod(tops[0]) * is_kept
        if node.param.type == "Convolution":
            kernel = layer.windows.kernel
            if max(kernel) > 1 or max(layer.windows.stride) > 1:
                columns = max(columns, layer.channels * math.prod(kernel) * math.prod(tops[0][2:]))
    return 4 * (total + columns)


def peak_bytes(solver: cc.Solver) -> int:
    """Tensor bytes at the fullest moment of the second iteration on."""
    kept = sum(
        blob.nbytes for blob in (*(param.tensor for param in solver.net.learnable_params), *solver.state.history)
    )
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        solver.solve()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    ordered = sorted(events, key=lambda event: event.start_ns())
    return kept + max(itertools.accumulate(event.nbytes() for event in ordered))


@pytest.mark.parametrize("name", NETS)
def test_training_keeps_less_than_caffe(name: str, tmp_path: Path) -> None:
    solver = solver_of(name, tmp_path)
    caffe = caffes_bytes(solver.net)
    ours = peak_bytes(solver)
    print(
        f"\n{name}, batch {NETS[name][0]}: {ours / 1e6:.0f} MB at the peak, Caffe keeps {caffe / 1e6:.0f} MB: "
        f"{ours / caffe:.3f}, wanted {WANTED}; {platform.machine()}, torch {torch.__version__}"
    )
    assert ours <= WANTED * caffe
