"""`caffe-compat solve`: its options, its log as Caffe's parsers read it, its JSON log, its signals."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.commands.runs import read_run
from caffe_compat.commands.signals import listening

# What Caffe's tools/extra/parse_log.py, extract_seconds.py and parse_log.sh look for in a line of a log
ITERATION = re.compile(r"Iteration (\d+)")
OUTPUT = re.compile(r"(Train|Test) net output #(\d+): (\S+) = ([\.\deE+-]+)")
RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")
LOSS = re.compile(r"\] Iteration (\d+), loss = ([\.\deE+-]+)$")
PREFIX = re.compile(r"[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] ")


def solve(capsys, *words):
    """The log of a run that goes well, as lines."""
    capsys.readouterr()
    assert main(["solve", "solver.prototxt", *words]) == 0
    return capsys.readouterr().err.splitlines()


def parsed(lines):
    """Rows of (train or test, iteration, output, value), and {iteration: rate}, as parse_log.py finds them."""
    iteration, rows, rates = -1, [], {}
    for line in lines:
        if found := ITERATION.search(line):
            iteration = int(found[1])
        if iteration == -1:
            continue  # parse_log.py skips what comes before the first iteration
        if found := RATE.search(line):
            rates[iteration] = float(found[1])
        if found := OUTPUT.search(line):
            rows.append((found[1], iteration, found[3], float(found[4])))
    return rows, rates


def test_every_line_has_glog_form_and_none_is_blank(problem, capsys):
    lines = solve(capsys, "--force", "l1")
    assert all(PREFIX.match(line) for line in lines)


def test_the_log_gives_parse_log_every_row(problem, capsys):
    lines = solve(capsys)
    assert any("] Solving Small" in line for line in lines)  # where extract_seconds.py starts to read
    rows, rates = parsed(lines)
    assert rates == {0: 0.05, 5: 0.05, 10: 0.05, 15: 0.025}
    assert [row[1:3] for row in rows if row[0] == "Train"] == [(n, "loss") for n in (0, 5, 10, 15)]
    assert [row[1:3] for row in rows if row[0] == "Test"] == [(n, o) for n in (0, 10, 20) for o in ("accuracy", "loss")]
    losses = [(int(found[1]), float(found[2])) for line in lines if (found := LOSS.search(line))]
    assert [iteration for iteration, _ in losses] == [0, 5, 10, 15, 20]
    assert losses[:4] == [(n, value) for kind, n, name, value in rows if kind == "Train"]  # average_loss is 1
    assert lines[-1].endswith("] Optimization Done.")


def test_ranks_are_reported_at_each_test_only_with_force(problem, capsys):
    assert not any("Ranks" in line for line in solve(capsys))
    lines = solve(capsys, "--force", "l1")
    ranks = [line.split("] ", 1)[1] for line in lines if "Ranks" in line]
    assert len(ranks) == 3
    assert all(re.fullmatch(r"    Ranks at 95 % energy: conv1 \d+/6, conv2 \d+/5", line) for line in ranks)


def test_the_lines_of_the_force_change_nothing_for_a_parser(problem, capsys):
    lines = solve(capsys, "--force", "l1")
    without = [line for line in lines if "Ranks" not in line and "Force" not in line]
    assert parsed(lines) == parsed(without)


def test_reported_ranks_are_those_of_the_weights(problem, capsys):
    last = [line for line in solve(capsys, "--force", "l1") if "Ranks" in line][-1]
    weights = cc.read_weights("small_iter_20.caffemodel")
    for layer in ("conv1", "conv2"):
        filters = weights[layer][0].reshape(len(weights[layer][0]), -1).astype(float)
        energy = np.linalg.svd(filters, compute_uv=False) ** 2
        rank = next(k for k in range(1, len(energy) + 1) if energy[:k].sum() >= 0.95 * energy.sum())
        assert f"{layer} {rank}/" in last


def test_the_json_log_tells_what_the_other_log_tells(problem, capsys):
    rows, _ = parsed(solve(capsys, "--force", "l2"))
    events = [json.loads(line) for line in (problem.folder / "small.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start" and {"command", "torch", "device", "threads", "random_seed"} <= events[0].keys()
    steps = [event for event in events if event["event"] == "step"]
    assert [event["iteration"] for event in steps] == [0, 5, 10, 15]
    train = [value for kind, _, _, value in rows if kind == "Train"]
    assert np.allclose([event["loss"] for event in steps], train, rtol=1e-5)
    tests = [event for event in events if event["event"] == "test"]
    assert [event["iteration"] for event in tests] == [0, 10, 20]
    losses = [value for kind, _, name, value in rows if kind == "Test" and name == "loss"]
    assert np.allclose([event["outputs"]["loss"] for event in tests], losses, rtol=1e-5)
    assert [event["iteration"] for event in events if event["event"] == "ranks"] == [0, 10, 20]
    assert [event["path"] for event in events if event["event"] == "snapshot"] == [
        "small_iter_10.solverstate",
        "small_iter_20.solverstate",
    ]


@pytest.mark.parametrize(
    ("force", "force_type", "decay"), [("l1", "Constant", "0.001"), ("l2", "Degradation", "5e-05")]
)
def test_the_log_says_which_strength_and_which_layers(problem, capsys, force, force_type, decay):
    text = "\n".join(solve(capsys, "--force", force, "--max-iter", "1"))
    assert force_type in text and f"force_decay {decay}" in text
    assert "forcing every Convolution: conv1, conv2" in text


def test_force_options_are_the_solver_fields(problem, capsys):
    solve(capsys, "--force", "gravity", "--force-decay", "-2e-3", "--force-layers", "conv2")
    by_option = cc.read_weights("small_iter_20.caffemodel")
    problem.edit("solver.prototxt", "momentum: 0.9", 'momentum: 0.9 force_type: "Gravity" force_decay: -2e-3')
    problem.edit("net.prototxt", 'name: "conv2"', 'param { force_mult: 1 } name: "conv2"')
    solve(capsys)
    by_field = cc.read_weights("small_iter_20.caffemodel")
    for layer, blobs in by_field.items():
        for blob, other in zip(blobs, by_option[layer], strict=True):
            np.testing.assert_array_equal(blob, other)


def test_force_none_is_training_without_force(problem, capsys):
    solve(capsys)
    plain = cc.read_weights("small_iter_20.caffemodel")["conv1"][0]
    problem.edit("solver.prototxt", "momentum: 0.9", "momentum: 0.9 force_decay: 0.1")
    problem.edit("net.prototxt", 'name: "conv1"', 'param { force_mult: 1 } name: "conv1"')
    solve(capsys, "--force", "none")
    np.testing.assert_array_equal(cc.read_weights("small_iter_20.caffemodel")["conv1"][0], plain)


def test_caffes_spellings_train_the_same_weights(problem, capsys):
    solve(capsys, "--max-iter", "10")
    ours = (problem.folder / "small_iter_10.caffemodel").read_bytes()
    effects = ["-sigint_effect", "stop", "--sighup_effect=none"]
    assert main(["train", "-solver=solver.prototxt", *effects, "-max_iter=10"]) == 0
    assert (problem.folder / "small_iter_10.caffemodel").read_bytes() == ours


def test_a_resumed_run_ends_where_a_straight_run_ends(problem, capsys):
    solve(capsys)
    straight = (problem.folder / "small_iter_20.caffemodel").read_bytes()
    (problem.folder / "small_iter_20.caffemodel").unlink()
    lines = solve(capsys, "-snapshot", "small_iter_10.solverstate")
    assert any(line.endswith("] Resuming from small_iter_10.solverstate") for line in lines)
    assert (problem.folder / "small_iter_20.caffemodel").read_bytes() == straight


def test_a_run_that_died_before_its_last_test_has_it_in_its_history_once_resumed(problem, capsys):
    solve(capsys)
    log = problem.folder / "small.jsonl"
    whole = read_run(str(log)).curves.sections
    kept, _, lost = log.read_text().partition('small_iter_20.solverstate"')
    assert '"event": "test", "iteration": 20' in lost
    log.write_text("".join((kept, 'small_iter_20.solverstate"', lost.partition("\n")[0], "\n")))
    assert read_run(str(log)).curves.sections != whole
    solve(capsys, "--snapshot", "auto")
    assert read_run(str(log)).curves.sections == whole
    solve(capsys, "--snapshot", "small_iter_10.solverstate", "--max-iter", "10")
    assert read_run(str(log)).curves.sections == whole


def test_the_history_goes_through_a_run_that_died_before_it_told_of_its_last_snapshot(problem, capsys):
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 5")
    solve(capsys)
    log = problem.folder / "small.jsonl"
    whole = read_run(str(log)).curves.sections
    log.write_text(log.read_text().partition('{"event": "snapshot", "iteration": 15')[0])
    (problem.folder / "small_iter_20.solverstate").unlink()
    solve(capsys, "--snapshot", "auto")
    told = read_run(str(log))
    assert told.curves.sections == whole and told.numbers == (1, 2)


def test_weights_are_where_training_starts(problem, capsys):
    solve(capsys)
    weights = cc.read_weights("small_iter_20.caffemodel")
    problem.edit("solver.prototxt", "base_lr: 0.05", "base_lr: 0")
    lines = solve(capsys, "-weights", "small_iter_20.caffemodel", "--max-iter", "1")
    assert any(line.endswith("] Finetuning from small_iter_20.caffemodel") for line in lines)
    np.testing.assert_array_equal(cc.read_weights("small_iter_1.caffemodel")["ip1"][0], weights["ip1"][0])


def test_solver_mode_gpu_without_one_warns_and_trains_on_the_cpu(problem, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    problem.edit("solver.prototxt", "solver_mode: CPU", "solver_mode: GPU")
    warnings = [line for line in solve(capsys, "--max-iter", "1") if line.startswith("W")]
    assert len(warnings) == 1 and "GPU" in warnings[0] and "CPU" in warnings[0]


def test_the_best_and_the_last_snapshots_are_kept(problem, capsys):
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 5")
    solve(capsys, "--keep-best", "accuracy", "--keep-last", "2")
    states = {path.name for path in problem.folder.glob("*.solverstate")}
    assert states == {"small_iter_15.solverstate", "small_iter_20.solverstate", "small_best_accuracy.solverstate"}


def test_patience_stops_a_run_that_gets_no_better(problem, capsys):
    problem.edit("solver.prototxt", "base_lr: 0.05", "base_lr: 0")
    solve(capsys, "--keep-best", "loss", "--patience", "1")
    assert {path.name for path in problem.folder.glob("small_iter_*.solverstate")} == {"small_iter_10.solverstate"}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_asked_for_by_name(problem, capsys, precision):
    exact = parsed(solve(capsys))[0]
    rows = parsed(solve(capsys, "--precision", precision))[0]
    assert rows != exact
    assert [value for *_, value in rows] == pytest.approx([value for *_, value in exact], abs=0.1)


def test_threads_are_as_asked(problem, capsys):
    import torch

    before = torch.get_num_threads()
    try:
        solve(capsys, "--threads", "1", "--max-iter", "1")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class Running:
    """`caffe-compat solve` in a process of its own, far from its end."""

    def __init__(self, problem):
        problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 100000000")
        problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 0")
        command = [sys.executable, "-m", "caffe_compat", "solve", "solver.prototxt", "--threads", "1"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=problem.folder)
        self.lines: list[str] = []

    def read_until(self, words):
        """Read the log up to the line with `words`."""
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return
        raise AssertionError(f"the log ended without '{words}': {self.lines[-5:]}")

    def finish(self):
        self.lines += self.process.communicate(timeout=60)[1].splitlines()
        return self.process.returncode


def test_sighup_takes_a_snapshot_and_goes_on_and_ctrl_c_takes_one_and_stops(problem):
    running = Running(problem)
    running.read_until("Iteration 5, loss")
    running.process.send_signal(signal.SIGHUP)
    running.read_until("Snapshotting solver state")
    running.read_until("Iteration")
    assert running.process.poll() is None
    running.process.send_signal(signal.SIGINT)
    assert running.finish() == 0, running.lines[-5:]
    assert running.lines[-2].endswith("] Optimization stopped early.")
    states = list(problem.folder.glob("small_iter_*.solverstate"))
    assert len(states) == 2 and all(state.with_suffix(".caffemodel").exists() for state in states)


class Asked:
    """Stands for a solver: remembers what was asked of it."""

    def __init__(self):
        self.actions = []

    def request(self, action):
        self.actions.append(action)


@pytest.mark.parametrize("effect", ["stop", "snapshot", "none"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_has_the_effect_that_was_asked_for(number, effect):
    solver = Asked()
    effects = {signal.SIGINT: "none", signal.SIGHUP: "none"} | {number: effect}
    with listening(solver, effects[signal.SIGINT], effects[signal.SIGHUP]):
        signal.raise_signal(number)
    assert solver.actions == ([] if effect == "none" else [effect])


def test_a_second_ctrl_c_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), listening(Asked(), "stop", "snapshot"):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_signals_do_what_they_did_before_once_the_run_is_over():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    with listening(Asked(), "stop", "snapshot"):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == before
