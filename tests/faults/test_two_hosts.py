"""A part of the campaign with two network namespaces, and the network interface that is none."""

import os

import pytest

from tests.faults import two_hosts
from tests.faults.apart import run_apart
from tests.faults.children import finish, make_folder, start
from tests.faults.crash_points import free_port, rank


@pytest.mark.slow
def test_a_cut_link_ends_each_host_in_time_with_a_snapshot_and_after_a_kill_both_go_on_by_themselves(tmp_path):
    if reason := two_hosts.obstacle():
        pytest.skip(reason)
    assert "two_hosts: 1 cuts, 1 kills, 0 faults" in run_apart("two_hosts", "5", "1", str(tmp_path))


@pytest.mark.slow
def test_a_wrong_gloo_socket_ifname_is_named_in_a_line(tmp_path):
    work, port = make_folder(tmp_path / "work"), free_port()

    def told(number):
        return rank(number, port, lambda: os.environ.update(GLOO_SOCKET_IFNAME="nosuch0"))

    children = [start(["solve", "s.prototxt"], work, f"log{number}", told(number)) for number in (0, 1)]
    assert [finish(child) for child in children] == [2, 2]
    for number in (0, 1):
        (line,) = (work / f"log{number}").read_text().splitlines()
        assert line.startswith(
            "caffe-compat: the 2 processes cannot reach one another (GLOO_SOCKET_IFNAME is 'nosuch0'"
        )
    assert not list(work.glob("t*"))
