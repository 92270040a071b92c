"""kill -9 at any moment: what is on the disk resumes, and no more is lost than followed the last snapshot."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from tests.commands.conftest import Problem
from tests.conftest import ROOT

EVERY = 3  # iterations between snapshots
ITERATIONS = 100000  # more than any of these runs reaches
RUN = f"""
import sys, torch
import caffe_compat as cc
torch.set_num_threads(1)

class Tell:
    def after_step(self, solver):
        print(solver.iteration, flush=True)

solver = cc.Solver("solver.prototxt", max_iter={ITERATIONS})
solver.callbacks += [Tell(), cc.JsonLinesLog("small.jsonl"), cc.KeepLast(4)]
solver.solve(resume=sys.argv[1] if sys.argv[1:] else None)
"""


def number(state):
    return int(state.stem.split("_")[-1])


def newest():
    """The newest snapshot of the run, as a list of the words that resume it."""
    states = sorted(Path().glob("small_iter_*.solverstate"), key=number)
    return [str(states[-1])] if states else []


def start():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, *newest()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("kills", [2, pytest.param(15, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_where_an_undisturbed_one_ends(tmp_path, monkeypatch, kills):
    """Weights to the bit; and each life begins at the last snapshot before the death, or the one of that moment."""
    monkeypatch.chdir(tmp_path)
    problem = Problem(tmp_path)
    problem.edit("solver.prototxt", "snapshot: 10", f"snapshot: {EVERY}")
    problem.edit("solver.prototxt", "test_interval: 10", "test_interval: 7")
    random = np.random.default_rng(kills)
    done = 0
    for _ in range(kills):
        begun = number(Path(newest()[0])) if newest() else 0
        assert begun >= (done - 1) // EVERY * EVERY
        with start() as run:
            first = run.stdout.readline()
            assert first == f"{begun + 1}\n", run.stderr.read()
            time.sleep(random.uniform(0, 0.3))
            run.kill()
            done = max([begun + 1, *map(int, run.stdout.read().split("\n")[:-1])])
    assert 0 < done < ITERATIONS
    end = done + 4
    last = cc.Solver("solver.prototxt", max_iter=end)
    last.solve(resume=newest()[0] if newest() else None)
    straight = cc.Solver("solver.prototxt", max_iter=end)
    straight.step(end)
    for layer, blobs in straight.net.weights().items():
        for blob, resumed in zip(blobs, last.net.weights()[layer], strict=True):
            np.testing.assert_array_equal(blob, resumed, err_msg=layer)
