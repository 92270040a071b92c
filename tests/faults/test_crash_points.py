"""A part of the campaign: kills at some of the steps of a few kinds of runs."""

import pytest

from tests.faults.apart import run_apart


@pytest.mark.parametrize("case", ["bestagain_h5_1", pytest.param("last_bin_2", marks=pytest.mark.slow)])
def test_a_kill_at_any_step_on_the_file_system_leaves_whole_sets_and_loses_no_run(tmp_path, case):
    printed = run_apart("crash_points", 11, 3, tmp_path, case)
    assert f"crash_points {case}: " in printed and " 3 kills, 0 faults" in printed
