"""The files of a snapshot appear together; what is torn is put in order, or refused with the way out."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.errors import SolverError
from caffe_compat.solver import sets
from tests.commands.conftest import Problem

STATE = "small_iter_10.solverstate"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder after a run with snapshots at 10 and 20; the same with another seed lies in `other`."""
    monkeypatch.chdir(tmp_path)
    problem = Problem(tmp_path)
    cc.Solver("solver.prototxt").solve()
    os.mkdir("other")
    for file in list(tmp_path.glob("small_*")):
        shutil.move(file, "other")
    problem.edit("solver.prototxt", "random_seed: 3", "random_seed: 4")
    cc.Solver("solver.prototxt").solve()
    return tmp_path


def refused(path=STATE):
    with pytest.raises(SolverError) as caught:
        cc.Solver("solver.prototxt").restore(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_of_another_run_under_a_state_are_refused(run):
    shutil.copy("other/small_iter_10.caffemodel", ".")
    message = refused()
    assert "small_iter_10.caffemodel: these are not the weights that" in message
    assert "resume from another snapshot, or remove" in message and f"{STATE}.json" in message
    Path(f"{STATE}.json").unlink()
    cc.Solver("solver.prototxt").restore(STATE)


def test_a_state_of_another_run_between_its_weights_and_side_car_is_refused(run):
    shutil.copy(f"other/{STATE}", ".")
    assert "are of another snapshot than this state" in refused()


@pytest.mark.parametrize("damage", [lambda text: text[:-5], lambda text: text.replace(b"[10,", b"[11,"), lambda _: b""])
def test_a_damaged_side_car_is_refused(run, damage):
    side = Path(f"{STATE}.json")
    changed = damage(side.read_bytes())
    if changed == side.read_bytes():
        changed = re.sub(rb'"losses_added": \d+', b'"losses_added": 99', changed)
    side.write_bytes(changed)
    assert "cannot be used" in refused() and "remove it to resume as Caffe does" in refused()


def test_weights_beside_the_state_come_before_those_of_the_path_it_names(run, caplog):
    """A copied folder, resumed in the working folder of the original, whose weights have changed since."""
    shutil.copytree(run, run.parent / "copy")
    shutil.copy("other/small_iter_10.caffemodel", ".")
    with caplog.at_level("INFO"):
        cc.Solver("solver.prototxt").restore(run.parent / "copy" / STATE)
    assert f"taking {run.parent / 'copy' / 'small_iter_10.caffemodel'}, which lies beside it" in caplog.text


def test_what_a_killed_run_had_begun_is_carried_to_its_end(run):
    """The note, all new files beside, the state gone: the moment at which an older set is just being replaced."""
    wanted = {name: Path("other", name).read_bytes() for name in (f"{STATE}.json", STATE)}
    renames = []
    for name, content in wanted.items():
        Path(f".{name}.abcd_123.part").write_bytes(content)
        renames.append([f".{name}.abcd_123.part", name])
    shutil.copy("other/small_iter_10.caffemodel", ".")
    Path(STATE).unlink()
    note = Path(f".{STATE}.commit")
    note.write_text(json.dumps({"gone": [STATE], "renames": renames}))
    cc.Solver("solver.prototxt").restore(STATE)
    assert {name: Path(name).read_bytes() for name in wanted} == wanted
    assert not note.exists() and not list(run.glob(".*"))


@pytest.mark.parametrize(
    "task",
    [
        {"gone": ["../victim"], "renames": []},
        {"gone": ["victim"], "renames": []},
        {"gone": [], "renames": [["small_x", "../victim"]]},
        [],
        {"gone": [STATE]},
    ],
)
def test_a_note_about_other_files_is_not_followed(run, task):
    Path("victim").write_text("x")
    Path(run.parent / "victim").write_text("x")
    Path(f".{STATE}.commit").write_text(json.dumps(task))
    sets.recover(Path("small"))
    assert Path("victim").exists() and Path(run.parent / "victim").read_text() == "x" and Path(STATE).exists()
    assert not list(run.glob(".*"))


def test_latest_is_the_newest_whole_snapshot_and_a_torn_one_is_passed_over(run, caplog):
    assert cc.newest_snapshot("small").path.name == "small_iter_20.solverstate"
    shutil.copy("other/small_iter_20.caffemodel", ".")
    assert cc.newest_snapshot("small").path.name == STATE
    assert "Passing over small_iter_20.solverstate" in caplog.text
    for file in run.glob("small_iter_*.caffemodel"):
        file.unlink()
    assert cc.newest_snapshot("small") is None and cc.newest_snapshot("absent/small") is None


@pytest.mark.parametrize("word", ["latest", "auto"])
def test_the_command_goes_on_from_the_newest_and_starts_where_there_is_none(run, word, capsys):
    end = Path("small_iter_20.caffemodel").read_bytes()
    sets.remove_set(Path("small_iter_20.solverstate"))
    assert main(["solve", "solver.prototxt", "--snapshot", word]) == 0
    log = capsys.readouterr().err
    assert f"Resuming from {STATE}" in log and Path("small_iter_20.caffemodel").read_bytes() == end
    for file in run.glob("small*"):
        file.unlink()
    assert main(["solve", "solver.prototxt", "--snapshot", word, "--max-iter", "20"]) == 0
    assert f"--snapshot {word}: there is no whole snapshot" in capsys.readouterr().err
    assert Path("small_iter_20.caffemodel").read_bytes() == end


def test_an_older_set_with_arrays_leaves_none_behind(run):
    solver = cc.Solver("solver.prototxt")

    class Keeper:
        def state_dict(self):
            return {"values": solver.net.params["ip1"][0]}

        def load_state_dict(self, state):
            self.values = state["values"]

    solver.keep("keeper", Keeper())
    solver.snapshot()
    assert Path("small_iter_0.solverstate.arrays").is_file()
    cc.Solver("solver.prototxt").snapshot()
    assert not Path("small_iter_0.solverstate.arrays").exists()
    cc.Solver("solver.prototxt").restore("small_iter_0.solverstate")
