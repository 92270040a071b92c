"""Runs in steps: each is done once, goes on where it stopped, and gives its row and log; --smoke does it in seconds."""

import csv
import io
import json
import shutil
from contextlib import redirect_stderr
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main as solve
from caffe_compat.data.datum import parse_datum
from caffe_compat.data.lmdb import LMDB
from reproductions import measures
from reproductions.command import main
from reproductions.datasets import shuffle_database
from reproductions.measures import keep_checkpoint, record, unfinished_run
from reproductions.runner import Runner, newest_state, working_in
from reproductions.runs import read_runs
from reproductions.steps import Place, Step, StepError

pytest.importorskip("lmdb")
NETWORKS = {name: import_module(f"reproductions.{name}.run").NETWORK for name in ("convnet", "lenet", "resnet20")}
FIRST = {"convnet": "baseline-seed1", "lenet": "l1-seed1", "resnet20": "l2-2e-3"}


@pytest.mark.parametrize("name", NETWORKS)
def test_smoke_goes_from_data_to_the_row(name, tmp_path):
    network, step = NETWORKS[name], FIRST[name]
    assert main(network, ["--smoke", "--work", str(tmp_path), "--only", step, "--device", "cpu"]) == 0
    (run,) = read_runs(folder=tmp_path / "results")
    assert (run.status, run.iterations, run.finish) == ("finished", 2, "")
    assert 0 <= run.error <= 100 and run.multiply_adds > 0 and run.average_rank_ratio > 0
    events, lines = (tmp_path / run.log).read_text(), (tmp_path / run.log).with_suffix(".log").read_text()
    assert "Optimization Done" in lines and str(tmp_path) not in events + lines
    assert [json.loads(line)["iteration"] for line in events.splitlines() if '"test"' in line] == [0, 2]
    changed = (tmp_path / step / "log").stat().st_mtime_ns
    assert main(network, ["--smoke", "--work", str(tmp_path), "--only", step]) == 0
    assert (tmp_path / step / "log").stat().st_mtime_ns == changed


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_smoke_of_every_step(name, tmp_path):
    assert main(NETWORKS[name], ["--smoke", "--work", str(tmp_path), "--device", "cpu"]) == 0
    runs = read_runs(folder=tmp_path / "results")
    assert len(runs) == len(NETWORKS[name].steps) and {run.status for run in runs} == {"finished"}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_step_has_its_own_row_and_what_it_starts_from(name):
    network = NETWORKS[name]
    runner = Runner(network, Place(network.folder))
    places = [step.name for step in network.steps]
    assert len(set(places)) == len(places)
    keys = [unfinished_run(runner, step).key for step in network.steps]
    assert len(set(keys)) == len(keys)
    for position, step in enumerate(network.steps):
        assert all(needed in network.steps[:position] for needed in runner.needs(step))


def test_an_interrupted_step_goes_on_from_its_newest_snapshot(tmp_path):
    network = NETWORKS["lenet"]
    runner = Runner(network, Place(tmp_path, device="cpu", smoke=True))
    step = network.step("baseline-seed1")
    runner.prepare(step)
    with working_in(tmp_path / step.name):
        assert solve(["solve", "solver.prototxt", "--max-iter", "1"]) == 0
    state = newest_state(tmp_path / step.name)
    assert state.name == "run_iter_1.solverstate.h5" and runner.state(step) == "at 1"
    runner.do(step)
    starts = [json.loads(line) for line in (tmp_path / step.name / "run.jsonl").read_text().splitlines()]
    assert [event["resume"] for event in starts if event["event"] == "start"] == [None, state.name]


def test_a_branch_counts_the_force_and_the_iterations_of_its_trunk():
    network = NETWORKS["convnet"]
    run = unfinished_run(Runner(network, Place(network.folder)), network.step("l1-8e-4-from8250-forced"))
    assert (run.iterations, run.force_decay) == (8250 + 4000, 8e-4)
    run = unfinished_run(Runner(network, Place(network.folder)), network.step("l2-6.5e-4-from11000"))
    assert (run.iterations, run.force_decay) == (11000 + 4000, 6.5e-4)


def test_a_checkpoint_lets_another_place_go_on_until_the_step_is_recorded(tmp_path, monkeypatch):
    network = replace(NETWORKS["lenet"], name=str(tmp_path / "net"))  # an absolute name is a folder outside the project
    shutil.copytree(NETWORKS["lenet"].folder, network.folder, ignore=shutil.ignore_patterns("run"))
    step = network.step("baseline-seed1")
    first, second = (Runner(network, Place(tmp_path / name, smoke=name == "a")) for name in "ab")
    with pytest.raises(StepError, match="is to do; a checkpoint is kept of a step that is under way"):
        keep_checkpoint(first, step)
    first.prepare(step)
    with working_in(first.folder(step)), open("log", "w") as log, redirect_stderr(log):
        assert solve(["solve", "solver.prototxt", "--max-iter", "1"]) == 0
    assert main(network, ["--work", str(tmp_path / "a"), "--checkpoint", "--only", step.name]) == 0
    assert read_runs(network.name)[0].note.endswith("at iteration 1")
    kept = first.checkpoint(step)
    assert str(tmp_path) not in (kept / "run.jsonl").read_text() + (kept / "log").read_text()
    shutil.copytree(first.data_folder(1), tmp_path / "b" / "data")
    second.prepare(step)
    assert second.state(step) == "at 1"
    with redirect_stderr(io.StringIO()):
        first.do(step)
    monkeypatch.setattr(measures, "HERE", tmp_path)
    record(first, [step], tmp_path)
    assert not kept.exists()


def test_a_folder_with_other_settings_is_refused(tmp_path):
    network = NETWORKS["lenet"]
    runner = Runner(network, Place(tmp_path, smoke=True))
    step = network.step("baseline-seed1")
    runner.prepare(step)
    (tmp_path / step.name / "run_iter_1.solverstate.h5").touch()
    other = Step(step.name, step.experiment, step.method, step.solver, "base_lr: 0.5")
    with pytest.raises(StepError, match="holds a run of other settings; remove it"):
        runner.prepare(other)


def test_settings_replace_the_fields_of_the_solver_file():
    runner = Runner(NETWORKS["convnet"], Place(NETWORKS["convnet"].folder))
    step = Step("a", "b", "c", "solver_short.prototxt", "base_lr: 0.5 stepvalue: 7", seed=3)
    param = runner.solver(step)
    assert (param.base_lr, list(param.stepvalue), param.random_seed) == (0.5, [7], 3)
    assert param.momentum == pytest.approx(0.9) and param.max_iter == 3000


def test_missing_data_and_models_are_named_with_their_options(tmp_path, capsys):
    assert main(NETWORKS["convnet"], ["--work", str(tmp_path), "--only", "baseline-seed1"]) == 2
    assert "--data DIR" in capsys.readouterr().err
    assert main(NETWORKS["convnet"], ["--work", str(tmp_path), "--only", "nothing"]) == 2
    assert "no step 'nothing'; --list shows them" in capsys.readouterr().err


def test_another_seed_gives_the_training_images_another_order(tmp_path):
    images = [np.full((1, 2, 2), value, np.uint8) for value in range(20)]
    path = tmp_path / "train_lmdb"
    cc.write_lmdb(path, ((b"%05d" % n, cc.encode_datum(image, n)) for n, image in enumerate(images)))
    shuffle_database(path, 2)
    database = LMDB(path)
    labels = [parse_datum(bytes(record)).label for record in database.records()]
    database.close()
    assert labels != list(range(20)) and sorted(labels) == list(range(20))


def test_list_says_how_far_each_step_is(tmp_path, capsys):
    assert main(NETWORKS["lenet"], ["--list", "--work", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(NETWORKS["lenet"].steps) and all(" to do " in line for line in lines)


def test_unfinished_steps_stand_with_the_command_that_finishes_them(tmp_path):
    network = NETWORKS["resnet20"]
    record(Runner(network, Place(tmp_path)), [network.step("none")], tmp_path)
    with (tmp_path / "results" / "resnet20.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "unfinished"
    assert row["finish"] == "python -m reproductions.resnet20.run --data DATA --models MODELS --only none"
