"""The last line of the log of a run that was stopped leads to where the run would have ended."""

import re
import shlex
import signal

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main, solve


class StopAt:
    """A callback that sends this process a signal after an iteration, and a second one at once if `twice`."""

    def __init__(self, iteration, number=signal.SIGINT, twice=False):
        self.iteration, self.number, self.twice = iteration, number, twice

    def after_step(self, solver):
        if solver.iteration == self.iteration:
            signal.raise_signal(self.number)
            if self.twice:
                signal.raise_signal(self.number)


@pytest.fixture
def stopped(problem, capsys, monkeypatch):
    """Run `solve` with these words until a callback stops it; its exit status and the last line of its log."""

    def run(callback, *words):
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(solve, "keepers", lambda arguments: [callback])
            status = main(["solve", "solver.prototxt", *words])
        return status, capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_either_signal_that_stops_leaves_the_line_and_its_own_status(stopped, number, status):
    found, line = stopped(StopAt(13, number))
    assert found == status
    assert "Stopped at iteration 13 of 20; to go on from small_iter_13.solverstate, run" in line


def test_a_straight_run_equals_one_that_was_stopped_and_went_on(problem, stopped):
    _, line = stopped(StopAt(13))
    assert line.endswith(
        "] Stopped at iteration 13 of 20; to go on from small_iter_13.solverstate, run the same command with "
        "--snapshot latest"
    )
    assert main(["solve", "solver.prototxt", *shlex.split(line.rpartition(" with ")[2])]) == 0
    on = cc.read_weights("small_iter_20.caffemodel")
    assert main(["solve", "solver.prototxt"]) == 0
    for name, blobs in cc.read_weights("small_iter_20.caffemodel").items():
        for straight, resumed in zip(blobs, on[name], strict=True):
            np.testing.assert_array_equal(resumed, straight, err_msg=name)


def test_where_an_older_run_went_further_the_file_is_named(problem, stopped):
    assert main(["solve", "solver.prototxt"]) == 0
    _, line = stopped(StopAt(7))
    assert line.endswith("run the same command with --snapshot small_iter_7.solverstate and no --weights")
    assert main(["solve", "solver.prototxt", "--snapshot", "small_iter_7.solverstate"]) == 0


def test_the_last_snapshot_is_named_where_the_end_takes_none(problem, stopped):
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 20 snapshot_after_train: false")
    assert "no snapshot was taken" in stopped(StopAt(7))[1]
    assert "Stopped at iteration 13 of 20; to go on from small_iter_10.solverstate" in stopped(StopAt(13))[1]


def test_a_second_ctrl_c_leaves_the_same_line_about_the_last_snapshot(problem, stopped):
    status, line = stopped(StopAt(13, twice=True))
    assert status == 130 and re.search(r"to go on from small_iter_10\.solverstate, .* --snapshot latest$", line)


def test_a_run_that_reaches_its_end_says_nothing_of_it(problem, stopped):
    assert stopped(StopAt(21))[1].endswith("] Optimization Done.")
