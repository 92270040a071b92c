"""Finding files as Caffe finds them, and writing them whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from caffe_compat.errors import DataError, MissingDataError, WriteError

_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # what mkstemp makes of the prefix and suffix below
_STALE = 3600  # seconds without a write after which a writer counts as killed

_held: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("held", default=None)


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new empty file beside `path` to write to; on leaving it takes the place of `path`.

    The bytes reach the disk before the name changes, and the name before this returns. Where anything fails, whatever
    stood at `path` stays as it was and the new file is removed; those that killed writers left in the folder go an hour
    after their last write. Within `held_back` the new file stays beside. Raises WriteError where the folder is missing,
    the disk is full, or a folder, FIFO or device stands at `path`.
    """
    if "\0" in os.fspath(path):
        raise WriteError(f"{path}: cannot be written: no file has a NUL character in its name")
    path = Path(path)
    if is_irreplaceable(path):
        raise WriteError(f"{path}: cannot be written: it is no file that can be replaced; name another one")
    held = _held.get()
    try:
        _remove_stale(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        try:
            os.close(handle)
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(_mode(path))
            if held is None:
                os.replace(temporary, path)
                sync_folder(path.parent)
            else:
                held.append((temporary, path))
        finally:
            if held is None or (temporary, path) not in held:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        kept = "; the file that stood there is unchanged" if os.path.exists(path) else ""
        raise WriteError(f"{path}: cannot be written: {_reason(error)}{kept}") from error


def is_irreplaceable(path: Path) -> bool:
    """Whether `path` is a folder, FIFO or device, or a name that the system has for an open file, as /dev/stdout.

    A file may stand behind such a name; the name itself is what a new file would take the place of.
    """
    folder = os.path.realpath(path.parent)
    is_of_system = folder == "/dev" or folder.startswith("/proc/")
    return os.path.exists(path) and (is_of_system or not os.path.isfile(path))  # unlike Path's own, these raise nothing


def _reason(error: OSError) -> str:
    """What the system said, also where a file within this one's block could not be written."""
    while isinstance(error, WriteError) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    return error.strerror or str(error)


@contextmanager
def held_back() -> Iterator[list[tuple[Path, Path]]]:
    """Within this block, `write_atomically` writes files whole but leaves them beside their places.

    Gives (new file, place) of each, as they come; the caller puts them there. They are removed where the block fails.
    """
    held: list[tuple[Path, Path]] = []
    token = _held.set(held)
    try:
        yield held
    except BaseException:
        for temporary, _ in held:
            temporary.unlink(missing_ok=True)
        raise
    finally:
        _held.reset(token)


@contextmanager
def all_or_none() -> Iterator[list[tuple[Path, Path]]]:
    """Within this block, files that `write_atomically` writes appear at its end; none does where anything fails.

    Gives (new file, place) of each, as they come, for who wants to read them before. Raises WriteError where one cannot
    take its place.
    """
    with held_back() as held:
        yield held
    outer = _held.get()
    if outer is not None:
        outer.extend(held)
        return
    try:
        for temporary, path in held:
            try:
                os.replace(temporary, path)
            except OSError as error:
                raise WriteError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        for temporary, _ in held:
            temporary.unlink(missing_ok=True)
    for folder in {path.parent for _, path in held}:
        sync_folder(folder)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes at the end of this block; its files appear at once, within `all_or_none` too."""
    token = _held.set(None)
    try:
        with tempfile.TemporaryDirectory() as place:
            yield Path(place)
    finally:
        _held.reset(token)


def sync_folder(folder: Path) -> None:
    """Let the names in `folder` reach the disk, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_stale(folder: Path) -> None:
    """Remove the temporary files in `folder` that nobody writes to any more."""
    for entry in os.scandir(folder):
        if _PART.fullmatch(entry.name):
            with suppress(OSError):  # another process may remove it too
                if time.time() - entry.stat().st_mtime > _STALE:
                    os.unlink(entry)


def _mode(path: Path) -> int:
    """The permissions of the file that `path` replaces, or those that a new file gets."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def leads_outside(path: str | os.PathLike[str]) -> bool:
    """Whether what is written to `path` lands outside the working folder, links followed."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(os.getcwd()))


def find_file(name: str | os.PathLike[str], *folders: Path | None, named_by: str) -> Path:
    """The file or folder `name`: in the working directory, as Caffe takes it, else in the first of `folders` with it.

    Where there is none, backslashes in it, as programs on Windows write them, are taken for slashes.
    Raises MissingDataError that begins with `named_by`, the file or layer that has the name, and lists the places
    looked at; DataError for an empty name.
    """
    if not os.fspath(name):
        raise DataError(f"{named_by}: the name of a file is empty; give one")
    names = dict.fromkeys((os.fspath(name), os.fspath(name).replace("\\", os.sep)))
    places = [place / each for each in names for place in (Path(), *(f for f in folders if f is not None))]
    for place in places:
        if os.path.exists(place):  # unlike Path.exists it never raises, whatever stands in the name
            return place
    looked = " and ".join(dict.fromkeys(str(place.absolute()) for place in places[: len(places) // len(names)]))
    correct = "correct the path" if places[0].is_absolute() else "correct the path, or start where it leads from"
    raise MissingDataError(f"{named_by}: {os.fspath(name)!r} is not at {looked}; {correct}")
