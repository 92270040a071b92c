"""Keeping the best snapshot, stopping early and keeping only the last snapshots."""

import json
from pathlib import Path

import pytest

from caffe_compat.errors import SolverError
from caffe_compat.solver.callbacks import KeepBest, KeepLast, Patience
from caffe_compat.solver.solver import Solver
from tests.conftest import golden


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("net.prototxt", "solver.prototxt", "h5.txt", "train.h5"):
        (tmp_path / name).write_bytes(golden("formats", "logs", name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Run:
    """Stands for the tests of a run: gives `callback` one value of an output after another."""

    def __init__(self, callback, output="accuracy"):
        self.solver, self.callback, self.output = Solver("solver.prototxt"), callback, output

    def see(self, *values):
        for value in values:
            self.callback.after_test(self.solver, [{self.output: value}])
            self.solver.state.iteration += 10


def best(output="accuracy"):
    return json.loads(Path(f"snap_best_{output}.json").read_text())


def test_the_highest_accuracy_is_kept():
    Run(KeepBest("accuracy")).see(0.5, 0.8, 0.8, 0.7)
    assert best() == {"output": "accuracy", "value": 0.8, "iteration": 10}
    resumed = Solver("solver.prototxt")
    resumed.restore("snap_best_accuracy.solverstate")
    assert resumed.iteration == 10


def test_the_lowest_loss_is_kept():
    Run(KeepBest("loss"), "loss").see(0.5, 0.3, 0.4)
    assert best("loss")["value"] == 0.3


def test_a_resumed_run_does_not_replace_a_better_snapshot():
    Run(KeepBest("accuracy")).see(0.5, 0.8)
    resumed = Run(KeepBest("accuracy"))
    resumed.solver.state.iteration = 30
    resumed.see(0.7)
    assert best()["value"] == 0.8
    resumed.see(0.9)
    assert best()["value"] == 0.9


def test_a_new_run_starts_its_own_record():
    Run(KeepBest("accuracy")).see(0.8)
    Run(KeepBest("accuracy")).see(0.2)
    assert best()["value"] == 0.2


def test_a_run_stops_after_its_patience_is_spent():
    tests = Run(Patience(2, "accuracy"))
    tests.see(0.5, 0.4, 0.6, 0.6)
    assert not tests.solver._requests
    tests.see(0.1)
    assert tests.solver._requests == {"stop"}


def test_patience_stops_a_real_run():
    solver = Solver("solver.prototxt", max_iter=2000)
    solver.callbacks.append(Patience(3, "accuracy"))
    solver.solve()
    assert solver.iteration < 2000
    assert Path(f"snap_iter_{solver.iteration}.solverstate").exists()


def test_only_the_last_snapshots_stay_and_the_best():
    solver = Solver("solver.prototxt", max_iter=75)
    solver.callbacks += [KeepLast(2), KeepBest("loss")]
    solver.solve()
    left = sorted(path.name for path in Path().glob("snap_iter_*"))
    assert left == [
        f"snap_iter_{iteration}.{kind}"
        for iteration in (60, 75)
        for kind in ("caffemodel", "solverstate", "solverstate.json")
    ]
    assert Path("snap_best_loss.caffemodel").exists()


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (KeepBest("acc"), "test net 0 has no output 'acc'; outputs by net: .*accuracy, loss"),
        (KeepBest("accuracy", net=1), "test net 1 has no output 'accuracy'"),
    ],
)
def test_an_unknown_output_is_named(callback, message):
    solver = Solver("solver.prototxt")
    solver.callbacks.append(callback)
    with pytest.raises(SolverError, match=message):
        solver.test()


@pytest.mark.parametrize("make", [lambda: KeepLast(0), lambda: Patience(0, "accuracy")])
def test_counts_below_one_are_refused(make):
    with pytest.raises(SolverError, match="wanted 1 or more"):
        make()
