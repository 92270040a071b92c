"""A little of every part of the campaign that one process can do; more of it, and what needs more, is slow."""

import pytest

from tests.faults import full_disks
from tests.faults.apart import run_apart
from tests.faults.children import make_folder, run


@pytest.fixture(scope="module")
def printed():
    return run_apart("quick", "11")


@pytest.mark.parametrize(
    "line",
    ["crash_points bestagain_h5_1: ", "kills sgd: ", "concurrency: ", "spot_checks: "],
)
def test_what_is_broken_on_purpose_heals_or_is_told(printed, line):
    (found,) = (each for each in printed.splitlines() if each.startswith(line))
    assert found.endswith(", 0 faults"), printed


@pytest.mark.slow
def test_a_kill_at_any_step_on_the_file_system_leaves_whole_sets_and_loses_no_run(tmp_path):
    printed = run_apart("crash_points", "12", "6", str(tmp_path), "bestagain_h5_1", "last_bin_2", "best_h5_2")
    assert printed.count(" 6 kills, 0 faults") == 3


@pytest.mark.slow
def test_a_full_or_changing_disk_ends_what_writes_to_it_in_a_line(tmp_path):
    if reason := full_disks.obstacle():
        pytest.skip(reason)
    assert "full_disks: 2 sizes a kind, 22 verbs, 0 faults" in run_apart("full_disks", "3", "2", str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("end", ["onnx", "pt2", "safetensors"])
def test_what_libraries_write_under_a_quota_ends_in_a_line_and_leaves_nothing(tmp_path, end):
    work = make_folder(tmp_path / "work", max_iter=2)
    assert run(["solve", "s.prototxt"], work) == 0
    words = ["deploy", "net.prototxt", "--weights", "t_iter_2.caffemodel", "--out", "d.prototxt"]
    assert run([*words, "--out-weights", "d.caffemodel"], work) == 0
    before = sorted(work.iterdir())
    verb = ["convert", "d.caffemodel", "made.safetensors"]
    verb = verb if end == "safetensors" else ["export", "d.prototxt", "d.caffemodel", "--out", f"made.{end}"]
    status, text = full_disks.piped(verb, work, lambda: full_disks.limit_files(1000))
    assert status == 2 and f"made.{end}: cannot be written: File too large" in text and "Traceback" not in text
    assert sorted(work.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("part", ["kills", "concurrency", "spot_checks"])
def test_more_of_what_is_broken_on_purpose_heals_or_is_told(tmp_path, part):
    printed = run_apart(part, "13", {"kills": "16"}.get(part, "3"), str(tmp_path))
    assert " 0 faults" in printed


@pytest.mark.slow
def test_a_run_of_two_ranks_of_which_either_is_killed_ends_where_an_undisturbed_one_ends(tmp_path):
    assert "ranks: 4 kills, 0 faults" in run_apart("ranks", "3", "4", str(tmp_path))


@pytest.mark.slow
def test_torchrun_with_restarts_goes_on_by_itself_where_either_rank_is_killed(tmp_path):
    assert "restarts: 2 kills, 0 faults" in run_apart("restarts", "7", "2", str(tmp_path))
