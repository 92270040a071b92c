"""What `show` of a caffemodel of AlexNet's size takes: seconds and memory, of the whole process.

Run with `pytest tests/benchmarks/test_show.py -m benchmark -s`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc

pytestmark = pytest.mark.benchmark

SHAPES = {"fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096)}  # nearly all of AlexNet's weights
SECONDS, MEGABYTES = 0.5, 100
ROUNDS = 9


# A small process starts the command: a child begins with the peak of the process that it comes of
LAUNCH = """
import json, os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
seconds = time.perf_counter() - start
print(json.dumps([status, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3]), file=sys.stderr)
"""


def run(words: list[str]) -> tuple[float, float, float, str]:
    """Seconds by the clock and on the processor, and MB at the peak, of a run of the command; what it printed."""
    done = subprocess.run([sys.executable, "-S", "-c", LAUNCH, *words], capture_output=True, text=True, timeout=60)
    status, clock, processor, memory = json.loads(done.stderr)
    assert status == 0
    return clock, processor, memory, done.stdout


def test_a_caffemodel_of_240_mb_is_shown_at_once(tmp_path: Path) -> None:
    net = cc.NetParameter(name="large")
    draw = np.random.default_rng(0)
    weights = {}
    for name, shape in SHAPES.items():
        net.layer.add(name=name, type="InnerProduct").inner_product_param.num_output = shape[0]
        weights[name] = (draw.standard_normal(shape, np.float32), draw.standard_normal(shape[:1], np.float32))
    cc.write_model(cc.Model(net, weights), tmp_path / "large.prototxt", tmp_path / "large.caffemodel")
    size = (tmp_path / "large.caffemodel").stat().st_size
    assert size > 230e6
    words = [sys.executable, "-m", "caffe_compat", "show", str(tmp_path / "large.caffemodel")]
    clock, processor, memory, printed = zip(*(run(words) for _ in range(ROUNDS)), strict=True)
    assert "fc6    InnerProduct  0     4096x9216  float32" in printed[0]
    print(
        f"\nshow of {size / 1e6:.0f} MB: {statistics.median(clock):.2f} s (from {min(clock):.2f} to {max(clock):.2f}), "
        f"{statistics.median(processor):.2f} s on the processor, {max(memory):.0f} MB; load {os.getloadavg()[0]:.1f}"
    )
    assert min(statistics.median(clock), statistics.median(processor)) < SECONDS and max(memory) < MEGABYTES
