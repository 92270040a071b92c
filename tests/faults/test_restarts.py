"""A part of the campaign with torchrun's own restarts."""

import pytest

from tests.faults.restarts import campaign


@pytest.mark.slow
def test_torchrun_with_restarts_goes_on_by_itself_where_either_rank_is_killed(tmp_path):
    assert not campaign(7, 2, tmp_path)
