"""What a verb may write to: files that exist are kept unless --force-overwrite, what is read is never written to.

Snapshots and logs of training, which a run that goes on adds to, are outside this rule.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from caffe_compat import WriteError
from caffe_compat.proto.files import is_irreplaceable

Name = str | os.PathLike[str]

_DATABASE = ("data.mdb", "CURRENT")  # one of these lies in every LMDB, LevelDB; HDF5 files beside their list


def add_force_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force-overwrite", action="store_true", help="replace files that exist")


def check_targets(targets: Iterable[Name | None], sources: Iterable[Name | None], overwrite: bool) -> None:
    """WriteError where one of the `targets` cannot be written without harm; None among them is passed over.

    It must be none of `sources`, by whatever name or link, nor lie inside one, nor be named twice. A file that exists
    is kept unless `overwrite`; a folder or a device always. The folder that it goes to is there, and takes files.
    """
    paths = [Path(target) for target in targets if target]
    _check_apart(paths, sources)
    for path in paths:
        if path.is_dir():
            raise WriteError(f"{path}: is a folder; name the file to write")
        if is_irreplaceable(path):
            raise WriteError(f"{path}: is no file that can be replaced; name another file")
        if os.path.lexists(path):
            _refuse_existing(path, overwrite)
        if not path.parent.is_dir():
            raise WriteError(f"{path}: cannot be written: there is no folder {path.parent}; make it first")
        _check_writable(path)


def _check_writable(path: Path) -> None:
    """WriteError where nothing new can come to the folder of `path`, before work is done in vain."""
    if os.path.isdir(path.parent) and not os.access(path.parent, os.W_OK | os.X_OK):
        is_mounted_so = bool(getattr(os.statvfs(path.parent), "f_flag", 0) & getattr(os, "ST_RDONLY", 0))
        reason = os.strerror(errno.EROFS if is_mounted_so else errno.EACCES)
        raise WriteError(f"{path}: cannot be written: {reason}; choose another folder")


def check_folder(path: Path, overwrite: bool) -> None:
    """WriteError where something stands at `path`, where a folder is to come; an empty folder may."""
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        _refuse_existing(path, overwrite)
    _check_writable(path)


@contextmanager
def folder_for(path: Path) -> Iterator[None]:
    """Within this block there is a folder at `path`; one that was made for it goes where the block fails, if empty."""
    made = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # of one that has something in it
            for each in made:
                each.rmdir()
        raise


@contextmanager
def new_databases(targets: Iterable[Name], sources: Iterable[Name | None], overwrite: bool) -> Iterator[None]:
    """Within this block nothing stands at `targets`, where databases are to come; what stood there goes at its end.

    It comes back where the block fails. WriteError as `check_targets`, and for what is no database.
    """
    paths = [Path(target) for target in targets]
    _check_apart(paths, sources)
    with ExitStack() as stack:
        for path in paths:
            if os.path.lexists(path):
                _refuse_existing(path, overwrite)
                if not _is_database(path):
                    raise WriteError(f"{path}: is no database that could be replaced; choose another name")
            _check_writable(path)
        for path in paths:
            if path.exists():
                stack.enter_context(_set_aside(path))
        yield


def _check_apart(targets: Iterable[Path], sources: Iterable[Name | None]) -> None:
    """WriteError for a target that is a source, lies inside one, or is named twice."""
    read = [source for source in sources if source]
    seen = set[str]()
    for target in targets:
        real = os.path.realpath(target)
        for source in read:
            if _same(target, source):
                raise WriteError(f"{target}: is what is read ({source}); name another file to write")
            if _is_database(Path(source)) and Path(os.path.realpath(source)) in Path(real).parents:
                raise WriteError(f"{target}: lies inside {source}, which is read; name another place")
        if real in seen:
            raise WriteError(f"{target}: is to be written twice; give each its own name")
        seen.add(real)


def _same(one: Name, other: Name) -> bool:
    """Whether both names lead to one file, through links of either kind."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there yet
        return False


def _is_database(path: Path) -> bool:
    if any((path / name).is_file() for name in _DATABASE):
        return True
    return (path / "list.txt").is_file() and {each.suffix for each in path.iterdir()} == {".txt", ".h5"}


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if not overwrite:
        raise WriteError(f"{path}: exists and is kept; give --force-overwrite to replace it, or another name")


@contextmanager
def _set_aside(path: Path) -> Iterator[None]:
    """Within this block `path` has another name, which it keeps only until the block is done."""
    aside = path.with_name(f"{path.name}.replaced")
    if os.path.lexists(aside):
        raise WriteError(f"{aside}: is left of a run that was killed; move it back to {path}, or remove it")
    path.rename(aside)
    try:
        yield
    except BaseException:
        if not os.path.lexists(path):
            aside.rename(path)
        raise
    shutil.rmtree(aside)
