"""Closed standard streams, a reader that is gone, a full disk behind them, a working folder that disappears."""

import ast
import os
import shutil
import sys
from pathlib import Path

import pytest

from caffe_compat.commands import main
from tests.faults.children import finish, has_traceback, make_folder, run, start

SOLVE = ["solve", "s.prototxt", "--max-iter", "4"]
VERBS = {"show": ["show", "net.prototxt"], "check": ["check", "net.prototxt"], "layers": ["layers"], "help": ["--help"]}
LINE = "caffe-compat: absent: cannot be read: No such file or directory\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("streams") / "run")


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """The folder of a run whose streams go to a log."""
    work = shutil.copytree(folder, tmp_path_factory.mktemp("undisturbed") / "work")
    assert run(SOLVE, work) == 0
    return work


def closed(*numbers):
    """What a child calls to be as a process that was started with these streams closed (`>&-`)."""

    def before():
        for number in numbers:
            os.close(number)
            setattr(sys, ["stdin", "stdout", "stderr"][number], None)

    return before


def led_to(opened, *numbers):
    """What a child calls to write into what `opened` opens."""

    def before():
        file = opened()
        for number in numbers:
            os.dup2(file, number)
        os.close(file)

    return before


def unread():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full():
    return os.open("/dev/full", os.O_WRONLY)


def slow(case):
    return pytest.param(case, marks=pytest.mark.slow)


def ended(folder, words, before):
    (folder / "log").unlink(missing_ok=True)
    status = finish(start(words, folder, before=before))
    return status, (folder / "log").read_text()


@pytest.mark.parametrize(
    "before",
    [slow(closed(1)), slow(closed(2)), closed(0, 1, 2), slow(led_to(unread, 2)), led_to(unread, 1, 2),
     slow(led_to(full, 2))],
    ids=["stdout closed", "stderr closed", "all closed", "stderr unread", "both unread", "stderr on a full disk"],
)  # fmt: skip
def test_training_goes_on_without_its_streams_and_its_files_are_the_same(folder, undisturbed, tmp_path, before):
    work = shutil.copytree(folder, tmp_path / "work")
    status, log = ended(work, SOLVE, before)
    assert status == 0 and not has_traceback(work / "log") and "fault of caffe_compat" not in log
    for name in ("t_iter_4.caffemodel", "t_iter_4.solverstate"):
        assert (work / name).read_bytes() == (undisturbed / name).read_bytes()
    assert {file.name for file in work.iterdir()} == {file.name for file in undisturbed.iterdir()}


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_a_verb_whose_result_nobody_gets_makes_no_fuss(folder, words):
    assert ended(folder, words, closed(1)) == (0, "")
    assert ended(folder, words, closed(1, 2)) == (0, "")
    status, log = ended(folder, words, led_to(unread, 1))
    assert status in ((0,) if words == ["--help"] else (141,)) and not log


def test_a_result_that_finds_no_space_is_told_in_a_line(folder):
    line = "caffe-compat: standard output: No space left on device\n"
    assert ended(folder, VERBS["show"], led_to(full, 1)) == (2, line)


@pytest.mark.parametrize(
    ("before", "said"),
    [(closed(1), LINE), (led_to(unread, 1), LINE), (closed(2), ""), (led_to(unread, 2), ""), (led_to(full, 2), "")],
    ids=["stdout closed", "stdout unread", "stderr closed", "stderr unread", "stderr on a full disk"],
)
def test_bad_input_keeps_its_status_and_its_line_where_it_can_be_said(folder, before, said):
    assert ended(folder, ["show", "absent"], before) == (2, said)


@pytest.mark.slow
def test_no_file_takes_the_number_of_a_closed_stream(folder, tmp_path):
    """For what a library prints there would go into it."""
    work = shutil.copytree(folder, tmp_path / "work")

    def before():
        closed(0, 1, 2)()
        renamed = []

        def hook(event, facts):
            if event == "os.rename":
                renamed.append([os.path.realpath(f"/proc/self/fd/{number}") for number in range(3)])
                Path("seen").write_text(repr(renamed))

        sys.addaudithook(hook)

    assert ended(work, SOLVE, before)[0] == 0
    seen = ast.literal_eval((work / "seen").read_text())
    assert seen and all(file == os.devnull for files in seen for file in files)


@pytest.mark.parametrize("words", [slow(SOLVE), VERBS["show"]], ids=["solve", "show"])
def test_a_working_folder_that_is_gone_is_told_in_a_line(folder, tmp_path, words):
    work = shutil.copytree(folder, tmp_path / "work")
    log = tmp_path / "out"
    child = start(words, work, str(log), before=lambda: shutil.rmtree(work))
    assert finish(child) == 2
    (line,) = log.read_text().splitlines()
    assert line.startswith("caffe-compat: ") and "No such file or directory" in line and "fault of" not in line


def test_a_working_folder_that_goes_away_while_a_run_trains_ends_it_in_a_line(folder, tmp_path):
    work = shutil.copytree(folder, tmp_path / "work")
    log = tmp_path / "out"

    def before():
        sys.addaudithook(
            lambda event, facts: event == "open" and str(facts[0]).endswith(".jsonl") and shutil.rmtree(work, True)
        )

    assert finish(start(SOLVE, work, str(log), before=before)) == 2
    assert not has_traceback(log)
    last = log.read_text().splitlines()[-1]
    assert last.startswith("caffe-compat: ") and "fault of" not in last


@pytest.mark.slow
def test_a_run_that_takes_no_snapshots_trains_in_a_folder_that_cannot_be_written(tmp_path):
    work = make_folder(tmp_path / "work", snapshot=0, snapshot_after_train="false")
    first = shutil.copytree(work, tmp_path / "first")
    work.chmod(0o555)

    def before():
        """All modules are imported; then root, who writes everywhere, is root no more."""
        os.chdir(first)
        assert main(SOLVE) == 0
        os.chdir(work)
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)

    log = tmp_path / "out"
    try:
        status = finish(start(SOLVE, work, str(log), before))
    finally:
        work.chmod(0o755)
    assert status == 0 and not has_traceback(log), log.read_text()
    assert log.read_text().count("Optimization Done.") == 2
    assert {file.name for file in work.iterdir()} == {file.name for file in first.iterdir()} - {"t.jsonl"}
