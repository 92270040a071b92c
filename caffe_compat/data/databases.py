"""Databases of records as a whole: which kind lies where, opening one, writing one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

from caffe_compat.data.datum import Bytes
from caffe_compat.data.leveldb import LevelDB, write_leveldb
from caffe_compat.data.lmdb import LMDB, write_lmdb
from caffe_compat.errors import DataError


class Database(Protocol):
    """Records in key order; `count` is None where counting would mean reading a very large file."""

    path: Path
    count: int | None

    def records(self, start: int = 0) -> Iterator[Bytes]: ...

    def key_order(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


Writer: TypeAlias = Callable[[Path, Iterable[tuple[bytes, bytes]]], int]

_READERS: dict[str, Callable[[Path], Database]] = {"LMDB": LMDB, "LEVELDB": LevelDB}
_WRITERS: dict[str, Writer] = {"LMDB": write_lmdb, "LEVELDB": write_leveldb}
BACKENDS = tuple(_READERS)


def backend_of(path: Path) -> str:
    """Which database lies at `path`, by the files there; LMDB where there is none of them."""
    return "LEVELDB" if (path / "CURRENT").exists() else "LMDB"


def open_database(path: Path, backend: str | None = None) -> Database:
    """The database at `path`; DataError if it is another than `backend` says, damaged or missing."""
    found = backend_of(path)
    if backend and backend != found and (found == "LEVELDB" or (path / "data.mdb").exists()):
        raise DataError(f"{path}: is a database of kind {found}, not {backend}; write backend: {found}")
    return _READERS[backend or found](path)


def write_database(path: Path, records: Iterable[tuple[bytes, bytes]], backend: str = "LMDB") -> int:
    """Write (key, value) pairs, keys rising, to a new database at `path`; gives their number.

    It appears at `path` only when it is whole. DataError if something is there already, or the disk is full.
    """
    return _WRITERS[backend](path, records)
