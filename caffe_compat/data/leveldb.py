"""LevelDB databases of records, as Caffe's tools write them (db_leveldb.cpp).

LevelDB has no read-only mode: to open a database is to lock it and to rewrite its log. So reading goes through a view,
a temporary folder with links to the tables, which never change, and copies of the small files that do. The database
itself stays untouched, may be locked by another program, not closed properly, or on a read-only disk.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from caffe_compat.data.writing import new_database
from caffe_compat.errors import DataError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_COUNT_UP_TO = 1 << 29  # bytes of a database whose records are counted on opening; counting reads all of it
_COMMIT_EVERY = 1000
_VIEW = "leveldb-view-"
_SETTLED = 60.0  # seconds after which a view has been locked, if its process lives
_TABLES = (".ldb", ".sst")


class LevelDB:
    """A database opened for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "CURRENT").is_file():
            raise DataError(f"{path}: no LevelDB there (it has no file CURRENT)")
        self._folder, self._database = _open_view(path)
        self._iterators: set[Any] = set()  # the open ones; they must be closed before the database is
        self._remove = weakref.finalize(self, _remove_view, os.getpid(), self._folder, self._database, self._iterators)
        size = sum(file.stat().st_size for file in path.iterdir())
        self.count: int | None = sum(1 for _ in self.key_order()) if size <= _COUNT_UP_TO else None

    def records(self, start: int = 0) -> Iterator[bytes]:
        """The values in key order from record `start` on."""
        return itertools.islice(self._iterate(include_key=False), start, None)

    def key_order(self) -> Iterator[bytes]:
        """The keys in order."""
        return self._iterate(include_value=False)

    def close(self) -> None:
        """Close the database and remove the view."""
        self._remove()

    def _iterate(self, **what: bool) -> Iterator[bytes]:
        plyvel = _module()
        try:
            iterator = self._database.iterator(verify_checksums=True, fill_cache=False, **what)
            self._iterators.add(iterator)
            try:
                yield from iterator
            finally:
                iterator.close()
                self._iterators.discard(iterator)
        except plyvel.Error as error:
            raise DataError(f"{self.path}: LevelDB is damaged ({_text(error)})") from error


def write_leveldb(path: Path, records: Iterable[tuple[bytes, bytes]], resume: bool = False) -> int:
    """Write (key, value) pairs to a new LevelDB at `path`; gives the number of records there.

    As `write_lmdb`: it appears only when whole, and with `resume` an unfinished one is added to.
    """
    plyvel = _module()
    with new_database(path, resume, (OSError, plyvel.Error)) as folder:
        source = iter(records)
        database = plyvel.DB(str(folder), create_if_missing=True, max_open_files=100)
        count = sum(1 for _ in database.iterator(include_value=False))
        try:
            while chunk := list(itertools.islice(source, _COMMIT_EVERY)):
                with database.write_batch() as batch:
                    for key, value in chunk:
                        batch.put(key, value)
                count += len(chunk)
        finally:
            database.close()
    return count


def _open_view(path: Path) -> tuple[Path, Any]:
    plyvel = _module()
    _remove_left_views()
    folder = Path(tempfile.mkdtemp(prefix=f"{_VIEW}{os.getpid()}-"))
    try:
        for file in path.iterdir():
            if not file.is_file() and (file.suffix in _TABLES or file.suffix == ".log"):
                raise OSError(f"{file.name} is no regular file")
            if file.suffix in _TABLES:
                (folder / file.name).symlink_to(file.resolve())
            elif file.name == "CURRENT" or file.name.startswith("MANIFEST-") or file.suffix == ".log":
                shutil.copy(file, folder / file.name)
        return folder, plyvel.DB(str(folder), create_if_missing=False, max_open_files=100)
    except (OSError, plyvel.Error) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"{path}: LevelDB cannot be opened ({_text(error)})") from error


def _remove_left_views() -> None:
    """Remove the views of processes that were killed: nobody holds LevelDB's lock on them any more."""
    if fcntl is None:
        return
    for lock in Path(tempfile.gettempdir()).glob(f"{_VIEW}*/LOCK"):
        if lock.parent.name.startswith(f"{_VIEW}{os.getpid()}-"):
            continue  # to open and close it would give up this process's own lock
        try:
            if time.time() - lock.stat().st_mtime < _SETTLED:
                continue  # LevelDB makes the file first and locks it then
            with lock.open("r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # in use, or another user's
        shutil.rmtree(lock.parent, ignore_errors=True)


def _remove_view(process: int, folder: Path, database: Any, iterators: set[Any]) -> None:
    """Close and delete the view.

    plyvel's own close knows its iterators by weak references, which a garbage collection clears first: an iterator
    that is collected together with its database would then free memory of a database that is gone.
    """
    if process != os.getpid():
        return  # a forked child; the view is its parent's
    for iterator in tuple(iterators):
        iterator.close()
    database.close()
    shutil.rmtree(folder, ignore_errors=True)


def _text(error: Exception) -> str:
    """LevelDB's message, which plyvel gives as bytes."""
    return " ".join(arg.decode(errors="replace") if isinstance(arg, bytes) else str(arg) for arg in error.args)


def _module() -> ModuleType:
    try:
        import plyvel
    except ImportError as error:
        raise DataError(
            "LevelDB needs the package plyvel: pip install caffe_compat[data]; it has no wheel for Python 3.13: there, "
            "install libleveldb-dev and a compiler first and then plyvel, or make the database an LMDB with Python 3.12"
        ) from error
    module: ModuleType = plyvel
    return module
