"""Databases of records as a whole: which kind lies where, opening one, writing one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from caffe_compat.data.datum import Bytes
from caffe_compat.data.leveldb import LevelDB, write_leveldb
from caffe_compat.data.lmdb import LMDB, write_lmdb
from caffe_compat.data.writing import partial_folder
from caffe_compat.errors import DataError


class Database(Protocol):
    """Records in key order; `count` is None where counting would mean reading a very large file."""

    path: Path
    count: int | None

    def records(self, start: int = 0) -> Iterator[Bytes]: ...

    def key_order(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class StoredKeys:
    """How far an unfinished database has come."""

    count: int
    last: bytes


_READERS: dict[str, Callable[[Path], Database]] = {"LMDB": LMDB, "LEVELDB": LevelDB}
BACKENDS = tuple(_READERS)


def backend_of(path: Path) -> str:
    """Which database lies at `path`, by the files there; LMDB where there is none of them."""
    return "LEVELDB" if os.path.exists(path / "CURRENT") else "LMDB"


def open_database(path: Path, backend: str | None = None) -> Database:
    """The database at `path`; DataError if it is another than `backend` says, damaged or missing."""
    found = backend_of(path)
    if backend and backend != found and (found == "LEVELDB" or os.path.exists(path / "data.mdb")):
        raise DataError(f"{path}: is a database of kind {found}, not {backend}; write backend: {found}")
    return _READERS[backend or found](path)


def write_database(
    path: Path, records: Iterable[tuple[bytes, bytes]], backend: str = "LMDB", resume: bool = False
) -> int:
    """Write (key, value) pairs, keys rising, to a new database at `path`; gives the number of records there.

    It appears at `path` only when it is whole; with `resume` an unfinished one is added to.
    DataError if something is there already, or the disk is full.
    """
    return (write_lmdb if backend == "LMDB" else write_leveldb)(path, records, resume)


def stored_keys(path: Path, backend: str = "LMDB") -> StoredKeys | None:
    """How far the unfinished database for `path` has come; None if there is none, DataError for one of another kind."""
    folder = partial_folder(path)
    if not any((folder / name).exists() for name in ("data.mdb", "CURRENT")):
        return None
    if backend_of(folder) != backend:
        raise DataError(f"{folder}: was begun as {backend_of(folder)}; remove it, or go on with that backend")
    database = open_database(folder)
    count, last = 0, b""
    for count, last in enumerate(database.key_order(), 1):  # noqa: B007
        pass
    database.close()
    return StoredKeys(count, last) if count else None
