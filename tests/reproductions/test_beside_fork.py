"""The fork's run beside ours: equal starts, differences and ranks from the snapshots, numbers from both logs."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import caffe_compat as cc
from reproductions import record as records
from reproductions.convnet import beside_fork
from reproductions.convnet.run import NETWORK
from reproductions.datasets import made_up_cifar10
from reproductions.report.beside import beside_the_fork
from reproductions.report.facts import read_facts
from reproductions.runs import read_runs

pytest.importorskip("lmdb")
FULL = {"conv1": 32, "conv2": 32, "conv3": 64}
# A second passes from line to line.
LOG = """I20261130 10:18:20.500000 25851 solver.cpp:358] Iteration 0, Testing net (#0)
I20261130 10:18:21.500000 25851 solver.cpp:425]     Test net output #0: accuracy = 0.1
I20261130 10:18:22.500000 25851 solver.cpp:425]     Test net output #1: loss = 2.3 (* 1 = 2.3 loss)
I20261130 10:18:23.500000 25851 solver.cpp:245] Iteration 0, loss = 2.5
I20261130 10:18:24.500000 25851 solver.cpp:260]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)
I20261130 10:18:25.500000 25851 solver.cpp:245] Iteration 490 (12.5 iter/s, 39.2s/490 iters), loss = 1.5
I20261130 10:18:26.500000 25851 solver.cpp:454] Snapshotting to HDF5 file /root/a/fork_far_iter_500.caffemodel.h5
I20261130 10:18:27.500000 25851 solver.cpp:245] Iteration 500, loss = 1
I20261130 10:18:28.500000 25851 solver.cpp:358] Iteration 1000, Testing net (#0)
I20261130 10:18:29.500000 25851 nets.py:10] something else
I20261130 10:18:30.500000 25851 solver.cpp:425]     Test net output #0: accuracy = {accuracy}
"""


def bank(filters, rank, seed):
    """Filters (filters, 3, 3, 3) of a rank."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(filters, rank)) @ draw.normal(size=(rank, 27))).reshape(filters, 3, 3, 3).astype("f4")


def write_runs(work, iterations, accuracies=None, stages=beside_fork.STAGES):
    """Snapshots and logs of all runs, whose weights grow apart by a thousandth, or a ten thousandth, an iteration."""
    net = cc.read_net(NETWORK.folder / NETWORK.net)
    for stage in stages:
        for who, step in zip(beside_fork.STAGES[stage], (1e-3, 0.0, 1e-4, 2e-3), strict=False):
            for iteration in iterations:
                weights = {name: (bank(full, 4, full), np.zeros(full, "f4")) for name, full in FULL.items()}
                at = np.unravel_index(np.abs(weights["conv2"][0]).argmax(), weights["conv2"][0].shape)
                weights["conv2"][0][at] *= 1 - step * iteration
                path = work / f"{who}_{stage}_iter_{iteration}.caffemodel.h5"
                cc.write_model(cc.Model(net, weights), work / "made.prototxt", path)
            text = LOG.replace("{accuracy}", str((accuracies or {}).get(who, 0.75)))
            (work / f"{who}_{stage}.log").write_text(text)


def test_losses_and_errors_are_read_from_logs_of_both_caffes():
    text = LOG.replace("{accuracy}", "0.75")
    assert beside_fork.losses_of(text) == {0: 2.5, 490: 1.5, 500: 1.0}
    assert beside_fork.errors_of(text) == {0: 90.0, 1000: 25.0}
    assert beside_fork.errors_of(LOG.partition("accuracy = {")[0]) == {0: 90.0}  # cut short in a test
    assert beside_fork.losses_of("") == {} and beside_fork.errors_of("") == {}
    assert beside_fork.mean_between({0: 2.5, 490: 1.5, 500: 1.0}, 0, 500) == 2.0
    assert beside_fork.mean_between({0: 2.5}, 10, 20) is None


def test_the_time_is_that_of_each_process_over_midnight():
    lines = ("I1130 23:59:58.5   7 a.py:1] a", "I1201 00:00:01.0   7 a.py:1] b", "E1201 09:00:00.0   8 a.py:1] c")
    assert beside_fork.seconds_of("\n".join([*lines, "no time", "I20261201 09:00:02.0 8 a.cpp:1] d"])) == 4.5


def test_a_nudged_weight_is_its_next_float_away_from_zero():
    given = {"conv1": (np.array([1.0, -1.0, 0.0, 1e-3], np.float32),)}
    (found,) = beside_fork.nudged(given)["conv1"]
    assert found.dtype == np.float32 and list(found[:3]) == [1 + 2**-23, -1 - 2**-23, 0]
    assert found[3] == np.nextafter(np.float32(1e-3), np.float32(1))


def test_rows_hold_the_ranks_and_the_differences_from_ours(tmp_path):
    write_runs(tmp_path, (500, 1000), stages=("near",))
    (tmp_path / "fork_near_iter_1500.caffemodel.h5").touch()  # the others are not there yet
    first, second = beside_fork.rows_of(tmp_path, "near")
    assert (first["iteration"], second["iteration"]) == (500, 1000)
    assert first["loss"] == dict.fromkeys(beside_fork.STAGES["near"], 2.0) and second["error"]["fork"] == 25.0
    assert "fork" not in first["error"] and first["ranks"]["here"] == dict.fromkeys(FULL, 4)
    assert first["difference"]["fork"] == {"conv1": 0, "conv2": 0.5, "conv3": 0}
    assert first["difference"]["nudged"]["conv2"] == 0.05 and second["difference"]["nudged"]["conv2"] == 0.1


def test_a_recorded_comparison_gives_rows_logs_and_the_figure(tmp_path, monkeypatch):
    root, work = tmp_path / "root", tmp_path / "work"
    for folder in (work, root / "results", root / "logs"):
        folder.mkdir(parents=True)
    (root / "paper.csv").write_bytes((records.HERE / "paper.csv").read_bytes())
    for name, value in (("RESULTS", root / "results"), ("LOGS", root / "logs")):
        monkeypatch.setattr(records, name, value)
    monkeypatch.setattr(beside_fork, "record_run", lambda run: records.record_run(run, folder=root / "results"))
    forgotten = partial(records.forget_runs, folder=root / "results")
    monkeypatch.setattr(beside_fork, "forget_runs", forgotten)
    monkeypatch.setattr(beside_fork, "keep_log", lambda path, name: records.keep_log(path, name, root / "logs"))
    made_up_cifar10(work)
    (work / NETWORK.net).write_bytes((NETWORK.folder / NETWORK.net).read_bytes())
    for iterations in ((500,), (500, 1000)):  # the rows of the first go
        write_runs(work, iterations, {"fork": 0.76})
        assert beside_fork.main(["record", "--work", str(work), "--build", "commit a"]) == 0
    fork, here = read_runs("convnet", root / "results")
    assert (fork.error, here.error, fork.iterations, fork.force_decay) == (24.0, 25.0, 1000, 3e-4)
    assert fork.ranks == {"conv1": (4, 32), "conv2": (4, 32), "conv3": (4, 64)} and fork.torch == "-"
    assert fork.note.endswith("float32; commit a") and here.note.endswith("float32")
    assert fork.seconds == len(LOG.splitlines()) - 1 and here.multiply_adds > 10**6 and fork.log != here.log
    logs = [(root / run.log).read_text() for run in (fork, here)]
    assert "/root" not in "".join(logs) and [log.count("Iteration 490") for log in logs] == [2, 4]
    rows = json.loads((root / "results" / "beside-fork.json").read_text())["rows"]
    assert [(row["stage"], row["iteration"]) for row in rows] == [
        (stage, iteration) for stage in ("near", "far") for iteration in (500, 1000)
    ]
    figure = beside_the_fork(read_facts(root))
    assert len(figure.pictures) == 3 and figure.rows[-1][:2] == ("1,000", "24.00 and 25.00")
    near, far = rows[:2], [{**rows[-1], "iteration": 500 * (number + 1)} for number in range(40)]
    long = beside_the_fork(replace(read_facts(root), beside_fork=[*near, *far]))
    assert [row[0] for row in long.rows] == ["500", *(f"{iteration:,}" for iteration in range(2000, 20001, 2000))]


def test_too_little_is_told_in_a_line(tmp_path, capsys):
    assert beside_fork.main(["record", "--work", str(tmp_path)]) == 2
    assert "the runs fork_near, here_near, nudged_near, free_near share no snapshot yet" in capsys.readouterr().err


def test_a_run_goes_on_only_where_the_database_begins_anew(tmp_path):
    command = beside_fork.command(tmp_path, "fork", "far")
    assert "--weights=start.caffemodel" in command and "--snapshot" not in command
    for iteration in (500, 1000, 1234):
        (tmp_path / f"fork_far_iter_{iteration}.caffemodel.h5").touch()
    command = beside_fork.command(tmp_path, "fork", "far")
    assert "--snapshot=fork_far_iter_1000.solverstate.h5" in command and "--weights" not in command
    assert "--weights=nudged.caffemodel" in beside_fork.command(tmp_path, "nudged", "near")


def test_the_solver_is_the_steps_own_with_snapshots_where_an_epoch_ends():
    far, step = beside_fork.solver("fork", "far", 2000), NETWORK.step(beside_fork.STEP)
    near = beside_fork.solver("here", "near", 2000)
    own = cc.read_solver(NETWORK.folder / step.solver)
    assert (far.max_iter, far.snapshot, near.max_iter, near.snapshot) == (2000, 500, 200, 10)
    assert far.force_decay == pytest.approx(3e-4) and far.force_type == own.force_type and far.solver_mode == far.CPU
    assert beside_fork.solver("free", "near", 2000).force_decay == 0
    for name in ("base_lr", "momentum", "weight_decay", "lr_policy", "test_interval"):
        assert getattr(far, name) == getattr(near, name) == getattr(own, name)
