"""A snapshot prefix belongs to one run at a time."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from caffe_compat.errors import SolverError
from caffe_compat.solver.sets import notes, prefix_of, recover
from caffe_compat.solver.settings import SolverConfig

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HELD = (errno.EAGAIN, errno.EACCES)
PATIENCE = 5.0  # seconds in which another process has carried a snapshot to its end


def takes_snapshots(config: SolverConfig) -> bool:
    """Whether a run writes snapshots that nobody has to ask for."""
    return bool(config.snapshot or config.snapshot_after_train)


@contextmanager
def prefix_reserved(config: SolverConfig) -> Iterator[None]:
    """Within this block, no other process can train into the same snapshot_prefix; SolverError where one does now.

    The lock is the kernel's: it goes with the process, however that ends. In a folder that cannot be written, a run
    that takes no snapshots needs none.
    """
    prefix = Path(config.snapshot_prefix)
    if fcntl is None or not prefix.name or not prefix.parent.is_dir():  # no name: no prefix, or a root
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(reserved(prefix))
        except OSError:
            if takes_snapshots(config):
                raise
        yield


@contextmanager
def reserved(prefix: Path) -> Iterator[None]:
    """Within this block, this process alone has `prefix`; what killed runs of it left is put in order first."""
    path = prefix.with_name(f".{prefix.name}.lock")
    file = _locked(path, prefix)
    try:
        recover(prefix)
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def settle(state: Path) -> None:
    """Let a snapshot that a killed run was about to put in the place of `state` be there, or be gone."""
    prefix = prefix_of(state)
    if fcntl is None or prefix is None or not prefix.parent.is_dir():
        return
    for _ in range(int(PATIENCE / 0.1)):
        if not notes(prefix):
            return
        with suppress(SolverError, OSError), reserved(prefix):
            return
        time.sleep(0.1)  # another process, one of its ranks perhaps, is at it


def _locked(path: Path, prefix: Path) -> IO[str]:
    """The lock file, locked. It may go while one waits to lock it: only the file that stands at `path` counts."""
    if path.exists() and not path.is_file():
        raise SolverError(f"{path}: marks that a run has the prefix '{prefix}', but is no regular file; remove it")
    while True:
        file = path.open("a+")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.fstat(file.fileno())
            with suppress(FileNotFoundError):
                if os.path.samestat(mine, path.stat()):
                    return file
        except OSError as error:
            file.close()
            if error.errno not in HELD:
                raise
            raise SolverError(
                f"another run is writing snapshots to '{prefix}' ({path} is locked); give this one another prefix"
            ) from None
        file.close()
