"""Finding files as Caffe finds them, and writing them whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caffe_compat.errors import DataError, WriteError


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new empty file beside `path` to write to; on leaving it takes the place of `path`.

    The bytes reach the disk before the name changes. Where anything fails, whatever stood at `path` stays as it was and
    the new file is removed. Raises WriteError where the folder is missing or the disk is full.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        try:
            os.close(handle)
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(_mode(path))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        kept = "; the file that stood there is unchanged" if path.exists() else ""
        raise WriteError(f"{path}: cannot be written: {error.strerror or error}{kept}") from error


def _mode(path: Path) -> int:
    """The permissions of the file that `path` replaces, or those that a new file gets."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def find_file(name: str | os.PathLike[str], beside: str | os.PathLike[str] | None = None) -> Path:
    """The file or folder `name`: as Caffe takes it, from the working directory, else beside the file that names it.

    `beside` is that file. Raises DataError that lists the places looked at.
    """
    places = [Path(name)]
    if beside is not None and not places[0].is_absolute():
        places.append(Path(beside).parent / name)
    for place in places:
        if place.exists():
            return place
    named = f"{beside}: " if beside is not None else ""
    looked = " and ".join(str(place.absolute()) for place in dict.fromkeys(places))
    raise DataError(f"{named}{os.fspath(name)!r} is not at {looked}; correct the path, or start where it leads from")
