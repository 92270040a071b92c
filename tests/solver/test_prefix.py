"""A snapshot prefix is one run's at a time."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from caffe_compat.errors import SolverError
from caffe_compat.solver.prefix import prefix_reserved, reserved


def contend(prefix: Path, seconds: float) -> int:
    """A child that takes and gives back the prefix; its status is 1 once it found another within."""
    child = os.fork()
    if child:
        return child
    status, inside = 0, prefix.with_name("inside")
    end = time.monotonic() + seconds
    while time.monotonic() < end and not status:
        try:
            with reserved(prefix):
                try:
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    status = 1
                time.sleep(0.0002)
                inside.unlink(missing_ok=True)
        except SolverError:
            pass
    os._exit(status)


def test_two_runs_never_have_a_prefix_at_once_though_its_lock_file_comes_and_goes(tmp_path):
    children = [contend(tmp_path / "small", 1.0) for _ in range(4)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert statuses == [0, 0, 0, 0]
    assert not list(tmp_path.iterdir())


def test_the_lock_goes_with_a_killed_process(tmp_path):
    child = os.fork()
    if not child:
        with reserved(tmp_path / "small"):
            (tmp_path / "ready").touch()
            time.sleep(60)
        os._exit(0)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    with pytest.raises(SolverError, match="another run is writing snapshots"), reserved(tmp_path / "small"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with reserved(tmp_path / "small"):
        assert (tmp_path / ".small.lock").exists()
    assert not (tmp_path / ".small.lock").exists()


def test_a_mark_that_is_no_file_is_told_of_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / ".small.lock")
    with pytest.raises(SolverError, match="but is no regular file; remove it"), reserved(tmp_path / "small"):
        pytest.fail("the prefix is not reserved")


def test_a_run_without_a_prefix_reserves_nothing() -> None:
    config: Any = SimpleNamespace(snapshot_prefix="", snapshot=0, snapshot_after_train=False)
    with prefix_reserved(config):
        pass
