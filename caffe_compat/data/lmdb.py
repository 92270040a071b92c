"""LMDB databases of records, as Caffe's tools write them (db_lmdb.cpp)."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from types import ModuleType
from typing import Any

import numpy as np

from caffe_compat.data.lmdb_pages import Pages
from caffe_compat.data.writing import new_database
from caffe_compat.errors import DataError, MissingDataError
from caffe_compat.proto.reading import open_file

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_COMMIT_EVERY = 1000  # records in a transaction, as Caffe's tools
_LOCK_BYTES = 8192  # of LMDB's 126 readers
_MAP_SIZE = 1 << 40  # address space, as Caffe (1 TB); the file grows as needed

_open_environments: dict[str, tuple[Any, int]] = {}  # path -> environment, users; a forked child goes on using them
_lock = threading.RLock()  # a garbage collection within may run a _release in the same thread


class LMDB:
    """A database opened for reading; any number of readers share one environment, which LMDB asks for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_header(path)
        key = str(path.resolve())  # now, for the working directory may be another one when it is given back
        environment = _acquire(key, path)
        transaction = environment.begin()  # keeps a writer from using the pages anew
        self._release = weakref.finalize(self, _release, os.getpid(), key, transaction)
        self.pages = Pages(path / "data.mdb" if path.is_dir() else path, transaction.id())
        self.count: int | None = self.pages.count

    def records(self, start: int = 0) -> Iterator[memoryview]:
        """The values in key order from record `start` on, as views of the file."""
        return self.pages.values(start)

    def rows(self, numbers: np.ndarray) -> np.ndarray | None:
        """The values of these records, a row each; None where they are not of one length."""
        return self.pages.rows(numbers)

    def key_order(self) -> Iterator[bytes]:
        """The keys in order."""
        return map(bytes, self.pages.keys())

    def close(self) -> None:
        """Give the environment back."""
        self._release()


def write_lmdb(path: Path, records: Iterable[tuple[bytes, bytes]], resume: bool = False) -> int:
    """Write (key, value) pairs, keys rising, to a new LMDB at `path`; gives the number of records there.

    The database appears at `path` only when it is whole. With `resume`, what an interrupted run with `resume` wrote is
    kept and added to. DataError if something is at `path` already, or the disk is full.
    """
    lmdb = _module()
    with new_database(path, resume, (OSError, lmdb.Error)) as folder:
        _reserve_lock(folder / "lock.mdb")
        environment = lmdb.open(str(folder), map_size=_MAP_SIZE, sync=False)
        try:
            source = iter(records)
            while chunk := list(itertools.islice(source, _COMMIT_EVERY)):
                with environment.begin(write=True) as transaction:
                    for key, value in chunk:
                        transaction.put(key, value)
            environment.sync(True)
            count: int = environment.stat()["entries"]
        finally:
            environment.close()
    return count


def _reserve_lock(path: Path) -> None:
    """Let the lock file have its place on the disk: it is mapped into memory, where a full disk would be a SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _LOCK_BYTES)


def _acquire(key: str, path: Path) -> Any:
    lmdb = _module()
    with _lock:
        environment, users = _open_environments.get(key, (None, 0))
        if environment is None:
            if _is_locked_here(path):
                raise DataError(f"{path}: LMDB cannot be opened (it is already open in this process)")
            try:
                environment = _open(lmdb, path)
            except lmdb.Error as error:
                raise DataError(f"{path}: LMDB cannot be opened ({error})") from error
        _open_environments[key] = environment, users + 1
    return environment


def _is_locked_here(path: Path) -> bool:
    """Whether somebody else in this process has the database open with its lock file, which a second opening would
    give up when it closes; the package lmdb refuses that only from version 2 on. Linux; False elsewhere.
    """
    try:
        lock = os.stat(path / "lock.mdb" if path.is_dir() else f"{path}-lock")
        files = os.listdir("/proc/self/fd")
    except OSError:
        return False
    for number in files:
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(os.stat(f"/proc/self/fd/{number}"), lock):
                return True
    return False


def _open(lmdb: ModuleType, path: Path) -> Any:
    """With its lock file where there is one (a writer may be at work), else without, which a read-only disk needs."""
    options = {"readonly": True, "subdir": path.is_dir(), "max_readers": 1024}
    if (path / "lock.mdb").is_file():
        try:
            return lmdb.open(str(path), **options)
        except lmdb.Error as error:  # a lock that cannot be had, on a read-only disk say, is done without
            if "already open" in str(error):
                raise
    return lmdb.open(str(path), lock=False, **options)


def _release(process: int, key: str, transaction: Any) -> None:
    if process != os.getpid():
        return  # a forked child; the transaction is its parent's
    transaction.abort()
    with _lock:
        environment, users = _open_environments.pop(key)
        if users > 1:
            _open_environments[key] = environment, users - 1
        else:
            environment.close()


def _check_header(path: Path) -> None:
    """DataError for what LMDB itself answers with a riddle, or with a crash when the file is cut short."""
    file = path / "data.mdb" if os.path.isdir(path) else path
    try:
        with open_file(file) as handle:
            head = handle.read(4096)
            size = os.fstat(handle.fileno()).st_size
    except OSError as error:
        why = f"no LMDB there ({error.strerror}: {file.name})"
        if files := sorted(path.glob("*.h5")) if os.path.isdir(path) else []:
            shown = f"`caffe-compat show {quote(str(files[0]))}` shows one"
            why = f"no database, but a folder of HDF5 files, which HDF5Data reads; {shown}"
        raise DataError(f"{path}: {why}") from error
    magics = {
        form: struct.unpack_from(f"{form}I", head, at)[0] for form, at in (("<", 16), (">", 16)) if len(head) > 24
    }
    if magics.get("<") != _MAGIC:
        foreign = magics.get(">") == _MAGIC or struct.pack("<I", _MAGIC) in head[:24]
        why = (
            "was written on a machine of another word size or byte order; write it anew here"
            if foreign
            else "is no LMDB"
        )
        raise DataError(f"{file}: {why}")
    (version,) = struct.unpack_from("<I", head, 20)
    if version != _VERSION:
        raise DataError(
            f"{file}: has LMDB format {version}, this reads format {_VERSION}; copy it with an older mdb_copy"
        )
    if len(head) < 44:
        raise _cut_short(file)
    (page,) = struct.unpack_from("<I", head, 40)
    metas = [_meta(file, page, index) for index in (0, 1)]
    if {size for _, _, size in metas} != {page}:  # the library would look for the second header by the newer one's
        sizes = " and ".join(str(size) for _, _, size in metas)
        raise DataError(
            f"{file}: is damaged: its two headers say pages of {sizes} bytes; copy it again, or make it anew"
        )
    wanted = (max(metas)[1] + 1) * page
    if size < wanted:
        raise DataError(f"{file}: is cut short: {size} bytes, its header says {wanted}; copy it again")


def _meta(file: Path, page: int, index: int) -> tuple[int, int, int]:
    """(transaction, last page, size of a page) of meta page `index`: the newer one is in force."""
    with file.open("rb") as handle:
        handle.seek(page * index + 16)
        found = handle.read(136)
    if len(found) < 136:
        raise _cut_short(file)
    last, transaction = struct.unpack_from("<QQ", found, 120)
    return transaction, last, struct.unpack_from("<I", found, 24)[0]


def _cut_short(file: Path) -> DataError:
    return DataError(f"{file}: is cut short within its header; copy it again")


def _module() -> ModuleType:
    try:
        import lmdb
    except ImportError as error:
        raise MissingDataError("LMDB needs the package lmdb: pip install caffe_compat[data]") from error
    module: ModuleType = lmdb
    return module
