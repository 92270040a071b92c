"""Two processes on gloo train as one process with iter_size 2; a process that dies; resuming with another number."""

import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

import caffe_compat as cc
from tests.commands.conftest import Problem
from tests.conftest import ROOT

ATOL = 2e-6  # the sums over the 20 records of an iteration are taken in another order
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
SOLVE = [sys.executable, "-m", "caffe_compat.solve", "solver.prototxt"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run of 20 iterations by two processes that torchrun started; its folder and its log."""
    folder = tmp_path_factory.mktemp("pair")
    Problem(folder)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "caffe_compat.solve", "solver.prototxt"]
    run = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    return folder, run.stderr


def alone(tmp_path, monkeypatch, *words):
    """The weights after the same training in one process with iter_size 2, from the same start."""
    problem = Problem(tmp_path)
    problem.edit("solver.prototxt", "momentum: 0.9", "momentum: 0.9 iter_size: 2")
    monkeypatch.chdir(tmp_path)
    solver = cc.Solver("solver.prototxt")
    solver.solve(*words)
    return solver


def assert_close(path, solver):
    for layer, blobs in cc.read_weights(path).items():
        for blob, param in zip(blobs, solver.net.params[layer], strict=True):
            np.testing.assert_allclose(blob, param.detach().numpy(), rtol=0, atol=ATOL, err_msg=layer)


def test_two_ranks_equal_one_process_with_iter_size_2(pair, tmp_path, monkeypatch):
    folder, _ = pair
    assert_close(folder / "small_iter_20.caffemodel", alone(tmp_path, monkeypatch))


def test_only_the_root_logs_and_its_loss_is_the_mean(pair, tmp_path, monkeypatch, caplog):
    _, log = pair
    assert len(re.findall("Optimization Done", log)) == 1
    with caplog.at_level("INFO"):
        alone(tmp_path, monkeypatch)
    form = re.compile(r"^Iteration (\d+), loss = (\S+)$")
    wanted = {found[1]: float(found[2]) for line in caplog.messages if (found := form.match(line))}
    found = dict(re.findall(r"\] Iteration (\d+), loss = (\S+)", log))
    for iteration in ("0", "5", "10", "15"):
        assert float(found[iteration]) == pytest.approx(wanted[iteration], rel=1e-4)


def test_one_process_resumes_the_snapshot_of_two(pair, tmp_path, monkeypatch):
    """Iteration 10 is in the middle of the first pass after the fifth: the side-car counts the batches of both."""
    folder, _ = pair
    solver = alone(tmp_path, monkeypatch, folder / "small_iter_10.solverstate")
    assert_close(folder / "small_iter_20.caffemodel", solver)


def test_two_processes_resume_the_snapshot_of_one(tmp_path, monkeypatch):
    solver = alone(tmp_path, monkeypatch)
    (tmp_path / "small_iter_20.caffemodel").unlink()
    Problem(tmp_path)  # without iter_size again
    runs = started(tmp_path, "--snapshot", "small_iter_10.solverstate")
    for run in runs:
        log = run.communicate(timeout=100)[1]
        assert run.returncode == 0, log
    assert_close(tmp_path / "small_iter_20.caffemodel", solver)


def started(folder, *words):
    """The two processes of a run, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [*SOLVE, *words],
            cwd=folder,
            env={**ENVIRONMENT, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def past_ten_of_an_endless_run(folder):
    """The two processes of a run that does not end by itself, after its tenth iteration."""
    problem = Problem(folder)
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 100000000")
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 0")
    root, other = started(folder)
    for line in root.stderr:
        if "Iteration 10, loss" in line:
            break
    return root, other


def assert_goes_on(said):
    """The snapshot that the last line named, `said` (iteration, file), is of that iteration and trains on."""
    solver = cc.Solver("solver.prototxt")
    solver.restore(said[2])
    assert solver.iteration == int(said[1]) >= 10
    assert solver.net.layers["data"].cursor == 2 * solver.iteration  # the batches of the lost iteration come again
    solver.step(1)


def test_a_rank_that_dies_stops_the_run_with_a_word_and_a_snapshot_that_resumes(tmp_path, monkeypatch):
    root, other = past_ten_of_an_endless_run(tmp_path)
    other.kill()
    other.communicate(timeout=60)
    last = root.communicate(timeout=100)[1].splitlines()[-1]
    assert root.returncode == 2
    said = re.search(r"iteration (\d+): one of the 2 processes has ended.* resume from (\S+),", last)
    assert said, last
    monkeypatch.chdir(tmp_path)
    assert_goes_on(said)


def test_where_the_root_dies_another_rank_leaves_the_snapshot(tmp_path, monkeypatch):
    root, other = past_ten_of_an_endless_run(tmp_path)
    root.kill()
    root.communicate(timeout=60)
    last = other.communicate(timeout=100)[1].splitlines()[-1]
    assert other.returncode == 2
    said = re.search(r"rank 1: iteration (\d+): one of the 2 processes has ended.* resume from (\S+),", last)
    assert said, last
    monkeypatch.chdir(tmp_path)
    assert_goes_on(said)


def test_a_resumed_run_of_two_ranks_equals_a_straight_one_dropout_included(tmp_path):
    problem = Problem(tmp_path)
    dropout = 'layer { name: "drop" type: "Dropout" bottom: "conv2" top: "conv2" }'
    problem.edit("net.prototxt", 'layer { name: "ip1"', f'{dropout}\nlayer {{ name: "ip1"')
    ends = []
    for words in ((), ("--snapshot", "small_iter_10.solverstate")):
        for run in started(tmp_path, *words):
            log = run.communicate(timeout=100)[1]
            assert run.returncode == 0, log
        ends.append(cc.read_weights(tmp_path / "small_iter_20.caffemodel"))
    for layer, blobs in ends[0].items():
        for straight, resumed in zip(blobs, ends[1][layer], strict=True):
            np.testing.assert_array_equal(resumed, straight, err_msg=layer)


def test_a_request_of_one_rank_stops_all_after_the_same_iteration(tmp_path):
    root, other = past_ten_of_an_endless_run(tmp_path)
    other.send_signal(2)
    log = root.communicate(timeout=100)[1]
    other.communicate(timeout=100)
    assert (root.returncode, other.returncode) == (0, 0), log
    assert log.splitlines()[-2].endswith("Optimization stopped early.")
    assert log.splitlines()[-1].endswith("run the same command with --snapshot latest")
    assert len(list(tmp_path.glob("small_iter_*.solverstate"))) == 1


NORM = 'layer { name: "norm" type: "BatchNorm" bottom: "conv1" top: "conv1" }\nlayer { name: "relu1"'


@pytest.mark.slow
def test_a_snapshot_that_has_another_ranks_statistics_names_the_last_scheduled_one_beside_it(tmp_path, monkeypatch):
    """BatchNorm's statistics are each rank's own, and the root took its with it."""
    problem = Problem(tmp_path)
    problem.edit("net.prototxt", 'layer { name: "relu1"', NORM)
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 100000000")
    root, other = started(tmp_path)
    for line in root.stderr:
        if "Iteration 15, loss" in line:
            break
    root.kill()
    root.communicate(timeout=60)
    last = other.communicate(timeout=100)[1].splitlines()[-1]
    monkeypatch.chdir(tmp_path)
    said = re.search(r"iteration (\d+): .* resume from (\S+), .*statistics as rank 1.*undisturbed.* only (\S+)$", last)
    assert said, last
    assert_goes_on(said)
    scheduled = cc.open_snapshot(said[3])
    assert scheduled.stored.iteration == int(said[1]) // 10 * 10
