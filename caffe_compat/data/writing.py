"""How a database comes into being: in a folder beside its place, which it takes when it is whole."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caffe_compat.errors import DataError

_FULL = 1 << 16  # bytes that are left of a disk which took no more


def partial_folder(path: Path) -> Path:
    """Where the database for `path` grows."""
    return path.with_name(path.name + ".partial")


def _why(error: Exception, folder: Path) -> str:
    """What the system said, as far as the library that writes to `folder` passes it on.

    LMDB calls it an input/output error where the disk takes only a part of what it writes (mdb_page_flush).
    """
    why = " ".join(arg.decode(errors="replace") if isinstance(arg, bytes) else str(arg) for arg in error.args)
    if found := re.search(r"\berrno = (\d+)", why):  # in the midst of what HDF5 says
        return os.strerror(int(found[1]))
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror
    if os.strerror(errno.EIO) in why and folder.is_dir() and shutil.disk_usage(folder).free < _FULL:
        return os.strerror(errno.ENOSPC)
    return why


@contextmanager
def new_database(path: Path, resume: bool, failures: tuple[type[Exception], ...]) -> Iterator[Path]:
    """The folder to write to; on leaving it becomes `path`.

    Where anything fails the folder is removed, or with `resume` kept for the next run. DataError if something is at
    `path` already, or instead of one of `failures`.
    """
    if path.exists():
        raise DataError(f"{path}: exists already; remove it or choose another place")
    folder = partial_folder(path)
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        folder.rename(path)
    except failures as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be written ({_why(error, folder)})") from error
    finally:
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
