"""A resumed run goes on with what its command line had; what would change that says so and stops."""

import itertools
import json
import logging
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.errors import SolverError
from caffe_compat.solver import sidecar
from caffe_compat.solver.run_options import agreed, as_given
from tests.commands.conftest import Problem

STATE = "small_iter_10.solverstate"
RUNS = {
    "force": {"force": "l1"},
    "force, strength and layer": {"force": "l2", "force_decay": 0.01, "force_layers": ["conv2"]},
    "strength alone": {"force": "gravity", "force_decay": -1e-4, "force_per_group": True},
    "all": {"force": "l1", "compat": "wen2017", "precision": "bf16"},
}


@pytest.fixture
def problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Problem(tmp_path)


def words(options):
    """The options as a command line has them."""
    for name, value in options.items():
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield ",".join(value) if isinstance(value, list) else str(value)


def weights(path="small_iter_20.caffemodel"):
    return {name: [blob.tobytes() for blob in blobs] for name, blobs in cc.read_weights(path).items()}


def half(options):
    """A run of 20 iterations with a snapshot at 10; the weights at its end."""
    solver = cc.Solver("solver.prototxt", **options)
    solver.solve()
    return weights()


@pytest.fixture(params=RUNS, ids=RUNS.keys())
def run(request, problem):
    """Options of a run, and the weights at its end; its snapshot in the middle is there, that of the end is not."""
    straight = half(RUNS[request.param])
    for file in problem.folder.glob("small_iter_20.*"):
        file.unlink()
    return RUNS[request.param], straight


def assert_gone_on(run):
    options, straight = run
    assert weights() == straight
    assert json.loads(Path("small_iter_20.solverstate.json").read_text())["run"] == options


def test_a_resume_that_names_nothing_goes_on_as_the_run_was_in_python(run):
    cc.Solver("solver.prototxt").solve(STATE)
    assert_gone_on(run)


def test_a_resume_that_names_nothing_goes_on_as_the_run_was_on_the_command_line(run):
    assert main(["solve", "solver.prototxt", "--snapshot", STATE]) == 0
    assert_gone_on(run)


def test_a_resume_that_names_the_same_goes_on_too(run):
    assert main(["solve", "solver.prototxt", "--snapshot", STATE, *words(run[0])]) == 0
    assert_gone_on(run)


def test_a_force_alters_the_weights_so_that_the_tests_above_can_fail(problem):
    ends = [half(options) for options in ({}, RUNS["force"], {"precision": "bf16"}, RUNS["strength alone"])]
    assert all(first != second for first, second in itertools.combinations(ends, 2))


def test_the_force_still_stands_after_a_second_resume(problem):
    straight = half({"force": "l1"})
    for last in (15, 20):
        solver = cc.Solver("solver.prototxt", max_iter=last)
        solver.solve(STATE if last == 15 else "small_iter_15.solverstate")
        assert any(solver._force_strengths)
    assert weights() == straight


CHANGES = {
    "another force": ({"force": "l1"}, {"force": "l2"}, "its run had force l1, this one asks for force l2"),
    "another strength": (
        {"force": "l1", "force_decay": 0.1},
        {"force": "l1", "force_decay": 0.2},
        "its run had force-decay 0.1, this one asks for force-decay 0.2",
    ),
    "a force where there was none": ({}, {"force": "l1"}, "had force of the solver's file, this one asks for force l1"),
    "other layers": (
        {"force": "l1"},
        {"force_layers": ["conv2"]},
        "had force-layers of the solver's file, this one asks for force-layers conv2",
    ),
    "precision": ({}, {"precision": "bf16"}, "had precision fp32, this one asks for precision bf16"),
    "compat": ({"compat": "wen2017"}, {"compat": "bvlc"}, "had compat wen2017, this one asks for compat bvlc"),
    "two at once": (
        {"force": "l1"},
        {"force": "l2", "precision": "bf16"},
        "had force l1, precision fp32, this one asks for force l2, precision bf16",
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_resume_that_would_change_the_run_is_one_line_and_stops(problem, capsys, change):
    before, now, message = change
    half(before)
    kept = {path.name: path.read_bytes() for path in problem.folder.iterdir()}
    with pytest.raises(SolverError, match=message):
        cc.Solver("solver.prototxt", **now).restore(STATE)
    capsys.readouterr()
    assert main(["solve", "solver.prototxt", "--snapshot", STATE, *words(now)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert STATE in last and message in last and "--accept-changes" in last
    assert {path.name: path.read_bytes() for path in problem.folder.iterdir()} == kept


@pytest.mark.parametrize("change", [CHANGES["other layers"], CHANGES["compat"], CHANGES["two at once"]])
def test_an_accepted_change_holds_and_is_told(problem, caplog, change):
    before, now, _ = change
    half(before)
    with caplog.at_level(logging.INFO):
        solver = cc.Solver("solver.prototxt", **now)
        solver.restore(STATE, accept_changes=True)
    assert "Resuming with" in caplog.text and "in place of" in caplog.text
    assert all(solver._options[name] == value for name, value in now.items())
    written = json.loads(sidecar.sidecar_path(solver.snapshot()).read_text())["run"]
    assert all(written[name] == value for name, value in now.items())
    assert main(["solve", "solver.prototxt", "--snapshot", STATE, "--accept-changes", *words(now)]) == 0


def test_force_none_needs_no_other_word(problem):
    half({"force": "l1", "force_layers": ["conv1"]})
    solver = cc.Solver("solver.prototxt", force="none")
    solver.restore(STATE)
    assert not any(solver._force_strengths)
    assert main(["solve", "solver.prototxt", "--snapshot", STATE, "--force", "none"]) == 0
    last = cc.Solver("solver.prototxt")
    last.restore("small_iter_20.solverstate")
    assert not any(last._force_strengths)


def test_a_new_force_brings_its_own_strength_and_layers():
    kept = {"force": "l1", "force_decay": 0.5, "force_layers": ["a"], "compat": "wen2017"}
    assert agreed({"force": "l2"}, kept, "s", True) == {"force": "l2", "compat": "wen2017"}
    assert agreed({"force": "l1", "precision": "bf16"}, kept, "s", True) == {**kept, "precision": "bf16"}


def test_the_order_of_layers_and_the_spelling_of_numbers_are_no_change():
    kept = {"force": "l1", "force_layers": ["a", "b"], "force_decay": 1}
    given = as_given(force_layers="b, a", force_decay=1.0, force_per_group=False, stages=())
    assert agreed(given, kept, "s")["force_layers"] == ["b", "a"]


def test_a_state_of_caffe_or_of_a_first_side_car_resumes_with_what_is_given(problem):
    half({"force": "l1"})
    Path(f"{STATE}.json").unlink()
    solver = cc.Solver("solver.prototxt", force="l2")
    solver.restore(STATE)
    assert solver.param.force_type == "Degradation" and any(solver._force_strengths)
    assert agreed({"force": "l2"}, None, "s") == {"force": "l2"}


def test_callbacks_kept_methods_and_requests_outlive_nets_made_anew(problem):
    half({"compat": "wen2017"})
    solver = cc.Solver("solver.prototxt")
    calls = []

    class Listener:
        def after_step(self, solver):
            calls.append(solver.iteration)

    solver.callbacks.append(Listener())
    before = solver.net
    solver.restore(STATE)
    assert solver.net is not before
    solver.step(2)
    assert calls == [11, 12]
    np.testing.assert_array_equal(solver.test_nets[0].params["ip1"][0].detach(), solver.net.params["ip1"][0].detach())


def test_a_method_of_the_solvers_file_goes_on_beside_a_force_from_the_side_car(problem):
    with (problem.folder / "solver.prototxt").open("a") as file:
        file.write("sparse_group_decay: 0.01\n")
    for layer in ("conv1", "conv2"):
        problem.edit("net.prototxt", f'top: "{layer}"\n', f'top: "{layer}" param {{ sparse_group_mult: 1 }}\n')
    straight = half({"force": "l1"})
    solver = cc.Solver("solver.prototxt")
    solver.solve(STATE)
    assert solver._shaping.stateful and weights() == straight
