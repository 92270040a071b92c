"""Signals at any moment of a run, its start and its snapshots included."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import caffe_compat as cc
from caffe_compat.commands.signals import TERMINATED, heeding, listening
from tests.conftest import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Asked:
    """Stands for a solver: remembers what was asked of it."""

    def __init__(self, iteration=3, **config):
        self.actions = []
        self.iteration = iteration
        self.is_writing = False
        self.config = SimpleNamespace(max_iter=10, snapshot_prefix="p", snapshot_after_train=True, **config)

    def request(self, action):
        self.actions.append(action)


def start(problem, max_iter=100000000):
    problem.edit("solver.prototxt", "max_iter: 20", f"max_iter: {max_iter}")
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 1000000")
    command = [sys.executable, "-m", "caffe_compat", "solve", "solver.prototxt", "--threads", "1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=problem.folder, env=ENVIRONMENT)


def test_sigterm_takes_a_snapshot_and_stops_with_status_143(problem):
    run = start(problem)
    for line in run.stderr:
        if "Iteration 5, loss" in line:
            break
    run.terminate()
    assert run.communicate(timeout=60)[1].splitlines()[-2].endswith("] Optimization stopped early.")
    assert run.returncode == 143
    assert len(list(problem.folder.glob("small_iter_*.solverstate"))) == 1


def test_sigterm_before_there_is_a_solver_ends_the_command_without_a_word(problem):
    for delay in (0.3, 0.9):
        problem.write("solver.prototxt", (problem.folder / "solver.prototxt").read_text())
        run = subprocess.Popen(
            [sys.executable, "-m", "caffe_compat", "solve", "solver.prototxt", "--max-iter", "100000000"],
            stderr=subprocess.PIPE, text=True, cwd=problem.folder, env=ENVIRONMENT,
        )  # fmt: skip
        time.sleep(delay)
        run.terminate()
        _, log = run.communicate(timeout=60)
        assert run.returncode in (143, -signal.SIGTERM) and "Traceback" not in log


def test_a_request_that_comes_before_the_solver_reaches_it():
    solver = Asked()
    with heeding("stop", "snapshot") as signals:
        signal.raise_signal(signal.SIGHUP)
        signals.reach(solver)
    assert solver.actions == ["snapshot"]


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_stop_that_comes_before_the_solver_ends_at_once(number, raised):
    with pytest.raises(raised) as caught, heeding("stop", "snapshot"):
        signal.raise_signal(number)
    assert raised is KeyboardInterrupt or caught.value.code == TERMINATED


def test_sigterm_asks_for_a_snapshot_where_the_end_takes_none():
    solver = Asked()
    solver.config.snapshot_after_train = False
    with listening(solver, "stop", "snapshot") as signals:
        signal.raise_signal(signal.SIGTERM)
    assert sorted(solver.actions) == ["snapshot", "stop"] and signals.status == TERMINATED
    solver.iteration = 10
    assert signals.status == 0


def test_sigterm_takes_its_snapshot_though_snapshot_after_train_is_false(problem):
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 20 snapshot_after_train: false")
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 0")
    solver = cc.Solver("solver.prototxt")

    class Terminate:
        def after_step(self, solver):
            if solver.iteration == 7:
                signal.raise_signal(signal.SIGTERM)

    solver.callbacks.append(Terminate())
    with listening(solver, "stop", "snapshot"):
        solver.solve()
    assert [path.name for path in Path().glob("*.solverstate")] == ["small_iter_7.solverstate"]


def test_a_second_ctrl_c_during_a_snapshot_does_not_lose_it(problem):
    """It comes while the last file is being written: the snapshot is whole, the run stops by the first."""
    solver = cc.Solver("solver.prototxt")

    class Interrupt:
        def after_step(self, solver):
            if solver.iteration == 10:
                signal.raise_signal(signal.SIGINT)

        def after_snapshot(self, solver, path):
            signal.raise_signal(signal.SIGINT)

    solver.callbacks.append(Interrupt())
    with listening(solver, "stop", "snapshot"):
        solver.solve()
    assert solver.iteration == 10
    cc.Solver("solver.prototxt").restore("small_iter_10.solverstate")


def test_ctrl_c_storms_during_snapshots_leave_whole_ones(problem):
    """A second and a third one at random moments from another thread."""
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 2000")
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 1")
    solver = cc.Solver("solver.prototxt")
    main = threading.main_thread().ident

    def storm():
        time.sleep(0.3)
        for _ in range(2):
            while not solver.is_writing:
                pass
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.001)

    thread = threading.Thread(target=storm, daemon=True)
    with listening(solver, "stop", "snapshot"):
        thread.start()
        solver.solve()
    thread.join(0.1)
    assert 0 < solver.iteration < 2000
    newest = cc.newest_snapshot("small")
    assert newest.stored.iteration == solver.iteration and newest.sidecar is not None
