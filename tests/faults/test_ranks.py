"""A part of the campaign with two ranks."""

import pytest

from tests.faults.apart import run_apart


@pytest.mark.slow
def test_a_run_of_two_ranks_of_which_either_is_killed_ends_where_an_undisturbed_one_ends(tmp_path):
    assert "ranks: 4 kills, 0 faults" in run_apart("ranks", 3, 4, tmp_path)
