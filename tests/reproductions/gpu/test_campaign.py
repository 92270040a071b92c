"""Nets trained together train as alone, stop and go on to the bit; the rehearsal does every part and its archive."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

import caffe_compat as cc
from reproductions.convnet.run import NETWORK as CONVNET
from reproductions.gpu import campaign as campaigns
from reproductions.gpu import measuring, parts, timing, together
from reproductions.gpu.__main__ import main
from reproductions.measures import unfinished_run
from reproductions.record import record_run
from reproductions.runner import Runner, working_in
from reproductions.runs import Run, read_file
from reproductions.steps import Place, StepError
from tests.conftest import ROOT

NAMES = ("baseline-240k", "l2-3e-4-240k", "l1-1e-3-240k")


@pytest.fixture
def campaign(tmp_path):
    return campaigns.Campaign(tmp_path / "work", torch.device("cpu"), rehearse=True, say=lambda line: None)


def weights(runner, name):
    return cc.read_weights(runner.weights(runner.network.step(name)))


def test_nets_trained_together_stop_and_go_on_as_nets_trained_alone(campaign, tmp_path, monkeypatch):
    monkeypatch.setattr(together, "AT_ONCE", 1)
    runner = campaign.runner(CONVNET)
    steps = [runner.network.step(name) for name in NAMES]
    assert not together.train(runner, steps, 0.0, campaign.say, at_least=1)
    assert [runner.reached(step) for step in steps] == [1, 1, 1]
    assert together.train(runner, steps, 60.0, campaign.say)
    for step in steps:
        alone = campaigns.Campaign(tmp_path / step.name, torch.device("cpu"), rehearse=True).runner(CONVNET)
        alone.prepare(step)
        with working_in(alone.folder(step)):
            solver = cc.Solver("solver.prototxt")
            solver.solve()
        mine, theirs = weights(runner, step.name), weights(alone, step.name)
        for layer, blobs in theirs.items():
            for one, other in zip(mine[layer], blobs, strict=True):
                np.testing.assert_array_equal(one, other)
        log = (runner.folder(step) / "log").read_text()
        assert "Optimization Done." in log and log.count("Solving") == 1
        events = [json.loads(line) for line in (runner.folder(step) / "run.jsonl").read_text().splitlines()]
        assert [event["resume"] for event in events if event["event"] == "start"] == [None, "run_iter_1.solverstate.h5"]
    assert (weights(runner, NAMES[0])["conv1"][0] != weights(runner, NAMES[1])["conv1"][0]).any()


def test_a_run_that_diverges_leaves_the_others_to_go_on(campaign, monkeypatch):
    runner = campaign.runner(CONVNET)
    steps = [runner.network.step(name) for name in NAMES[:2]]
    step_of = together.Member.go_on

    def fail(member):
        if member.step is steps[0]:
            raise cc.SolverError("iteration 0: the loss is nan")
        step_of(member)

    monkeypatch.setattr(together.Member, "go_on", fail)
    said = []
    assert not together.train(runner, steps, 60.0, said.append)
    assert said[0] == "baseline-240k: iteration 0: the loss is nan"
    assert [runner.is_done(step) for step in steps] == [False, True]


def test_every_step_has_a_row_of_its_own_and_its_command_names_it():
    for network in (CONVNET, parts.RESNET20):
        runner = campaigns.Campaign(network.folder, torch.device("cpu")).runner(network)
        keys = {(s.method, runner.solver(s).force_decay, s.seed) for s in runner.network.steps}
        assert len(keys) == len(runner.network.steps)
        run = unfinished_run(runner, runner.network.steps[-1])
        assert run.finish == (
            f"python -m reproductions.gpu run {network.name} --work WORK --only {runner.network.steps[-1].name}"
        )


@pytest.mark.slow
def test_the_rehearsal_does_every_part_and_goes_on_from_its_archive(capsys):
    assert main(["--rehearse"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: {what}" in printed for name, (_, what) in parts.PARTS.items())
    assert "from the archive: nothing left to do" in printed


def test_rows_of_another_machine_join_those_of_the_project(campaign, tmp_path):
    assert parts.run(campaign, ["speedups"], 60.0)
    assert parts.run(campaign, ["speedups"], 0.0)  # finished before
    campaigns.archive(campaign, tmp_path / "out.tar.xz")
    other = campaigns.Campaign(tmp_path / "other", torch.device("cpu"))
    campaigns.unarchive(other, tmp_path / "out.tar.xz")
    for name in ("results", "logs"):
        (tmp_path / "root" / name).mkdir(parents=True)
    assert campaigns.merge(other, tmp_path / "root") == 2
    rows = read_file(tmp_path / "root" / "results" / "alexnet.csv")
    assert [row.method for row in rows] == ["Table 4, no force, fp32", "Table 4, l2 force, fp32"]
    assert all(row.measures["GPU speedup", "conv3"] > 0 for row in rows)
    assert all((tmp_path / "root" / row.log).exists() for row in rows)


@pytest.mark.parametrize("damage", ["cut", "header", "middle", "last", "other"])
def test_a_damaged_archive_is_told_and_changes_nothing(campaign, tmp_path, damage):
    for number in range(5):
        noise = np.random.default_rng(number).integers(0, 2**31, 2000).tolist()
        campaign.keep(f"made-{number}", {"rows": noise})
    campaigns.archive(campaign, tmp_path / "whole.tar.xz")
    content = bytearray((tmp_path / "whole.tar.xz").read_bytes())
    at = {"header": 2, "middle": len(content) // 2, "last": len(content) - 60}.get(damage)
    if at is not None:
        content[at : at + 4] = b"oops"
    content = {"cut": content[: len(content) // 2], "other": b"no archive"}.get(damage, content)
    (tmp_path / "damaged").write_bytes(bytes(content))
    other = campaigns.Campaign(tmp_path / "other", torch.device("cpu"))
    with pytest.raises(StepError, match="is no archive that `run` wrote, or is damaged"):
        campaigns.unarchive(other, tmp_path / "damaged")
    assert list(other.work.iterdir()) == []
    assert main(["run", "--device", "cpu", "--work", str(other.work), "--go-on-from", str(tmp_path / "damaged")]) == 2


def test_an_archive_takes_no_step_back_and_loses_no_row(campaign, tmp_path):
    runner, other = campaign.runner(CONVNET), campaigns.Campaign(tmp_path / "other", torch.device("cpu"))
    ahead, behind = (runner.network.step(name) for name in NAMES[:2])
    for work, reached in ((campaign, {ahead: 40, behind: 20}), (other, {ahead: 20, behind: 40})):
        for step, iteration in reached.items():
            folder = work.runner(CONVNET).folder(step)
            folder.mkdir(parents=True)
            for name in (f"run_iter_{iteration}.solverstate.h5", f"run_iter_{iteration}.caffemodel.h5", "log"):
                (folder / name).write_text(work.work.name)
    row = Run("convnet", "speed", "a", seconds=1.0)
    record_run(row, folder=campaign.work / "results")
    record_run(replace(row, seconds=2.0), folder=other.work / "results")
    record_run(replace(row, method="b"), folder=campaign.work / "results")
    campaigns.archive(campaign, tmp_path / "out.tar.xz")
    campaigns.unarchive(other, tmp_path / "out.tar.xz")
    theirs = other.runner(CONVNET)
    assert [theirs.reached(step) for step in (ahead, behind)] == [40, 40]
    assert [(theirs.folder(step) / "log").read_text() for step in (ahead, behind)] == ["work", "other"]
    rows = read_file(other.work / "results" / "convnet.csv")
    assert [(run.method, run.seconds) for run in rows] == [("a", 2.0), ("b", 1.0)]
    (other.work / "results" / "convnet.csv").write_text("no,rows\n")
    with pytest.raises(StepError, match="remove the file, its rows are written anew"):
        campaigns.merge(other, tmp_path)


def test_a_signal_leaves_a_snapshot_of_whole_iterations(campaign, monkeypatch):
    monkeypatch.setattr(together, "AT_ONCE", 1)
    runner = campaign.runner(CONVNET)
    steps = [runner.network.step(name) for name in NAMES[:2]]
    go_on = together.Member.go_on

    def interrupted(member):
        signal.raise_signal(signal.SIGTERM)
        go_on(member)

    monkeypatch.setattr(together.Member, "go_on", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        together.train(runner, steps, 60.0, campaign.say)
    assert [runner.reached(step) for step in steps] == [1, 0] and signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_takes_no_snapshot_of_half_an_iteration(campaign, monkeypatch):
    runner = campaign.runner(CONVNET)
    steps = [runner.network.step(name) for name in NAMES[:2]]
    kept = []
    monkeypatch.setattr(together.Member, "keep", lambda member: kept.append(member.step))
    monkeypatch.setattr(together.Member, "go_on", lambda member: [signal.raise_signal(signal.SIGINT) for _ in "ab"])
    with pytest.raises(KeyboardInterrupt):
        together.train(runner, steps, 60.0, campaign.say)
    assert kept == [steps[1]]


def test_a_part_that_measures_waits_for_a_call_with_enough_time(tmp_path, monkeypatch):
    said, done = [], []
    campaign = campaigns.Campaign(tmp_path, torch.device("cpu"), say=said.append)
    for name in ("tests", "agreement", "convnet"):
        monkeypatch.setitem(parts.PARTS, name, (lambda _, left, name=name: done.append(name), "what"))
    assert not parts.run(campaign, ["tests", "agreement", "convnet"], 100.0)
    assert done == ["tests", "convnet"]  # the first part has all the time that there is
    assert "agreement: too little time is left; the same command goes on" in said


def test_a_gpu_row_begins_with_the_fillers_and_not_at_a_checkpoint_of_a_cpu(tmp_path):
    runner = campaigns.Campaign(tmp_path, torch.device("cpu")).runner(CONVNET)
    step = runner.network.step("baseline-240k")
    assert not runner.has_checkpoint(step)
    assert Runner(CONVNET, Place(tmp_path)).has_checkpoint(step) == runner.checkpoint(step).exists()


def test_the_gpu_tests_are_found_by_their_mark():
    found = {path.name for path in measuring.files_of_gpu_tests(ROOT)}
    assert {"test_golden_files.py", "test_graphed.py", "test_resident.py"} <= found and len(found) < 20


def test_an_archive_that_is_too_large_is_refused(campaign, tmp_path, monkeypatch):
    campaign.keep("made", {"rows": []})
    monkeypatch.setattr(campaigns, "MOST_BYTES", 10)
    with pytest.raises(StepError, match="more than 10; carry it in pieces"):
        campaigns.archive(campaign, tmp_path / "out.tar.xz")


def test_without_a_gpu_one_line_says_what_can_be_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["run", "--work", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "gpu: torch finds no CUDA device here; --rehearse tries everything on a CPU\n"
    assert main([]) == 2
    assert main(["run", "tests", "--device", "cpu", "--only", "x", "--work", str(tmp_path)]) == 2
    assert "--only STEP goes with one part that trains" in capsys.readouterr().err
    assert main(["status", "--work", str(tmp_path)]) == 0
    assert "l2-3e-4-240k-seed3" in capsys.readouterr().out


@pytest.mark.parametrize("minutes", ["nan", "inf", "-1", "nine"])
def test_minutes_are_a_finite_number_from_zero_on(tmp_path, capsys, minutes):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--device", "cpu", "--work", str(tmp_path), "--minutes", minutes])
    assert "argument --minutes: " in capsys.readouterr().err


def test_speeds_are_medians_and_the_share_of_a_peak_is_of_known_devices_alone():
    assert timing.spread([3.0, 1.0, 2.0]) == {"median": 2.0, "lower quartile": 1.5, "upper quartile": 2.5}
    assert timing.spread([1.0, 2.0]) == {"median": 1.5, "lower quartile": 1.25, "upper quartile": 1.75}
    assert timing.spread([4.0])["median"] == 4.0
    assert timing.peak(torch.device("cpu"), "fp32") is None
    assert set(timing.PEAKS) == set(measuring.PRECISIONS) == set(timing.DTYPES)
