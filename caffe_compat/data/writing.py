"""How a database comes into being: in a folder beside its place, which it takes when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caffe_compat.errors import DataError


def partial_folder(path: Path) -> Path:
    """Where the database for `path` grows."""
    return path.with_name(path.name + ".partial")


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
        why = " ".join(arg.decode(errors="replace") if isinstance(arg, bytes) else str(arg) for arg in error.args)
        raise DataError(f"{path}: cannot be written ({why})") from error
    finally:
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
