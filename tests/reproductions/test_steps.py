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
from reproductions.checkpoints import keep_checkpoint
from reproductions.command import main
from reproductions.datasets import shuffle_database
from reproductions.measures import record, unfinished_run
from reproductions.record import record_run
from reproductions.runner import Runner, newest_state, working_in
from reproductions.runs import read_runs
from reproductions.steps import LowRank, Place, Step, StepError

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


def test_a_step_ended_in_its_last_test_is_not_finished_before_that_is_made(runners, tmp_path):
    runner, _ = runners
    dense, _ = runner.network.steps
    runner.do(dense)
    log = runner.folder(dense) / "run.jsonl"
    lines = log.read_text().splitlines()
    (last,) = (n for n, line in enumerate(lines) if '"test", "iteration": 2' in line)
    log.write_text("\n".join(lines[:last]) + "\n")
    assert runner.state(dense) == "at 2"
    record(runner, [dense], tmp_path)
    assert [(row.status, row.error) for row in read_runs(runner.network.name)] == [("unfinished", None)]
    runner.do(dense)
    record(runner, [dense], tmp_path)
    (row,) = read_runs(runner.network.name)
    outputs = json.loads(lines[last])["outputs"]
    assert (row.status, row.error) == ("finished", round(100 * (1 - outputs["accuracy"]), 2))


def test_a_branch_counts_the_force_and_the_iterations_of_its_trunk():
    network = NETWORKS["convnet"]
    run = unfinished_run(Runner(network, Place(network.folder)), network.step("l1-8e-4-from8250-forced"))
    assert (run.iterations, run.force_decay) == (8250 + 4000, 8e-4)
    run = unfinished_run(Runner(network, Place(network.folder)), network.step("l2-6.5e-4-from11000"))
    assert (run.iterations, run.force_decay) == (11000 + 4000, 6.5e-4)


@pytest.fixture
def runners(tmp_path, monkeypatch):
    """Two places with a network, outside the project, of LeNet's training and of what it leaves, decomposed."""
    name = str(tmp_path / "net")  # an absolute name is a folder outside the project
    shutil.copytree(NETWORKS["lenet"].folder, name, ignore=shutil.ignore_patterns("run"))
    settings = "max_iter: 2 stepvalue: 2 test_interval: 2 test_iter: 1 snapshot: 2"
    dense = Step("dense", "baseline", "baseline", "solver_baseline.prototxt", settings)
    small = replace(dense, name="small", experiment="decompose", start="dense", low_rank=LowRank(ranks_of="dense"))
    network = replace(NETWORKS["lenet"], name=name, steps=(dense, small))
    for place in "ab":
        (tmp_path / place / "data").mkdir(parents=True)
        network.make_smoke(tmp_path / place / "data")
    monkeypatch.setattr(measures, "HERE", tmp_path)
    with redirect_stderr(io.StringIO()):
        yield [Runner(network, Place(tmp_path / place, device="cpu")) for place in "ab"]


def test_a_checkpoint_lets_another_place_go_on_until_the_step_is_recorded(runners, tmp_path):
    first, second = runners
    dense, small = first.network.steps
    kept = first.checkpoint(dense)
    with pytest.raises(StepError, match="is to do; a checkpoint is kept of a step that is under way"):
        keep_checkpoint(first, dense)
    first.prepare(dense)
    with working_in(first.folder(dense)), open("log", "w") as log, redirect_stderr(log):
        assert solve(["solve", "solver.prototxt", "--max-iter", "1"]) == 0
    assert main(first.network, ["--work", str(tmp_path / "a"), "--checkpoint", "--only", "dense"]) == 0
    assert read_runs(first.network.name)[0].note.endswith("at iteration 1")
    assert str(tmp_path) not in (kept / "run.jsonl").read_text() + (kept / "log").read_text()
    assert second.state(dense) == "at 1" and not second.folder(dense).exists()
    second.prepare(dense)
    assert second.state(dense) == "at 1" and newest_state(second.folder(dense)) is not None
    first.do(dense)
    record(first, [dense], tmp_path)
    assert {path.name for path in kept.iterdir()} == {"train_test.prototxt", first.weights(dense).name}
    first.do(small)
    record(first, [small], tmp_path)
    assert not kept.exists()


def test_a_checkpoint_has_earlier_snapshots_that_others_start_from(runners):
    here, elsewhere = runners
    dense, small = here.network.steps
    for runner in runners:
        branch = replace(small, start="dense@1", low_rank=None)
        runner.network = replace(runner.network, steps=(replace(dense, keep_last=99), branch))
    dense, branch = here.network.steps
    here.prepare(dense)
    with working_in(here.folder(dense)), open("log", "w") as log, redirect_stderr(log):
        for last in ("1", "3"):
            assert solve(["solve", "solver.prototxt", "--max-iter", last, "--snapshot", "auto"]) == 0
    here.weights(dense).unlink()  # so that the step counts as under way
    kept = {path.name for path in keep_checkpoint(here, dense).iterdir()}
    assert {"run_iter_1.caffemodel.h5", "run_iter_3.solverstate.h5"} < kept and "run_iter_1.solverstate.h5" not in kept
    commit = (here.folder(dense) / "commit").rename(here.place.work / "commit")
    with pytest.raises(FileNotFoundError):
        keep_checkpoint(here, dense)
    assert {path.name for path in here.checkpoint(dense).iterdir()} == kept  # what fails leaves the earlier one
    commit.rename(here.folder(dense) / "commit")
    elsewhere.do(branch)
    assert elsewhere.state(branch) == "finished" and not elsewhere.is_done(dense)


def test_what_is_recorded_is_not_done_again_elsewhere(runners, tmp_path):
    here, elsewhere = runners
    dense, small = here.network.steps
    here.do(dense)
    record(here, [dense], tmp_path)
    (row,) = read_runs(here.network.name)
    assert (here.state(dense), elsewhere.state(dense)) == ("finished", "recorded")
    elsewhere.do(small)
    assert not (elsewhere.folder(dense) / "log").exists()
    record(elsewhere, here.network.steps, tmp_path)
    first, second = read_runs(here.network.name)
    assert first == row and row.error is not None
    assert second.ranks == {layer: pair for layer, pair in row.ranks.items() if layer in second.ranks} != {}
    shutil.rmtree(elsewhere.place.work)
    record(elsewhere, here.network.steps, tmp_path)
    assert read_runs(here.network.name) == [first, second]


def test_a_step_under_way_goes_on_elsewhere_without_those_that_it_started_from(runners):
    here, elsewhere = runners
    dense, small = here.network.steps
    here.do(dense)
    here.prepare(small)
    with working_in(here.folder(small)), open("log", "w") as log, redirect_stderr(log):
        assert solve(["solve", "solver.prototxt", "--weights", "start.caffemodel.h5", "--max-iter", "1"]) == 0
    keep_checkpoint(here, small)
    elsewhere.do(small)
    assert elsewhere.state(small) == "finished" and not elsewhere.folder(dense).exists()


def test_ranks_of_a_recorded_step_need_no_weights_of_it(runners, tmp_path):
    here, elsewhere = runners
    dense, small = here.network.steps
    here.do(dense)
    record(here, [dense], tmp_path)
    (row,) = read_runs(here.network.name)
    record_run(replace(row, ranks={"conv1": (3, 20), "conv2": (7, 50)}))
    other = replace(dense, name="other", seed=2, settings=dense.settings + " base_lr: 0")
    again = replace(small, name="again", start="other")
    elsewhere.network = replace(elsewhere.network, steps=(dense, other, again))
    assert elsewhere.needs(again) == [other]
    shutil.copytree(elsewhere.place.work / "data", elsewhere.place.work / "data-seed2")
    elsewhere.do(again)
    convolutions = {layer.name: layer for layer in cc.read_net(elsewhere.folder(again) / "train_test.prototxt").layer}
    assert [convolutions[f"{name}_lowrank"].convolution_param.num_output for name in ("conv1", "conv2")] == [3, 7]


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
    network = NETWORKS["convnet"]
    assert main(network, ["--list", "--work", str(tmp_path)]) == 0
    known = {run.command.rpartition(" ")[2] for run in read_runs("convnet") if run.status == "finished"}
    for step, line in zip(network.steps, capsys.readouterr().out.splitlines(), strict=True):
        has_checkpoint = (network.folder / "checkpoints" / step.name / "log").exists()
        state = "recorded" if step.name in known else "at " if has_checkpoint else "to do"
        assert line.startswith(f"{step.name:<28} {state}") and f" {step.experiment}: " in line


def test_unfinished_steps_stand_with_the_command_that_finishes_them(tmp_path):
    network = NETWORKS["resnet20"]
    record(Runner(network, Place(tmp_path, fresh=True)), [network.step("none")], tmp_path)
    with (tmp_path / "results" / "resnet20.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "unfinished"
    assert row["finish"] == "python -m reproductions.resnet20.run --data DATA --models MODELS --only none"
