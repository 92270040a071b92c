"""Files in tar archives and .gz files of strangers: bounded in what they unpack to, links followed within them."""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from caffe_compat.data.tars import open_tar
from caffe_compat.errors import DataError
from caffe_compat.proto.reading import open_file

EXPANSION = 64  # times that what an archive holds may be larger than it; images and numbers of MNIST's shrink 5 times
_SMALL, _PIECE = 1 << 26, 1 << 20
UNREADABLE = (
    tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, struct.error,
    ValueError, KeyError, OverflowError, RecursionError,
)  # fmt: skip
"""What a damaged archive makes the library raise."""


def archived(archive: Path, name: str) -> Iterator[bytes]:
    """The content of every file called `name`, in whatever folder, of a tar archive, packed or not. Raises DataError.

    A link stands for the file that it leads to within the archive.
    """
    try:
        with open_file(archive) as file:
            most = _most(file.seek(0, 2))
            file.seek(0)
            with open_tar(file, most, archive) as members:
                for member in members:
                    if PurePosixPath(member.name).name == name:
                        yield from _content(archive, members, member, most)
    except UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{archive}: is no tar archive that can be read ({_why(error)}); get it again") from error


def unzipped(path: Path) -> bytes:
    """What the .gz file `path` holds. Raises DataError, also where that is far more than such a file can hold."""
    try:
        with open_file(path) as file:
            most = _most(file.seek(0, 2))
            file.seek(0)
            with gzip.open(file) as unpacked:
                content = _whole(unpacked.read, most, path)
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: cannot be unpacked ({_why(error)})") from error
    return content


def _most(size: int) -> int:
    return _SMALL + EXPANSION * size


def _content(archive: Path, members: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> Iterator[bytes]:
    try:
        file = members.extractfile(member)
    except (KeyError, RecursionError):
        raise DataError(
            f"{archive}: {member.name} is a link to '{member.linkname}', which leads to no file of the archive"
        ) from None
    if file is not None:
        yield _whole(file.read, most, archive)


def _whole(read: Callable[[int], bytes], most: int, where: Path) -> bytes:
    """All that there is to read, by pieces: a size that is only said takes no memory."""
    pieces, size = [], 0
    while piece := read(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise DataError(f"{where}: unpacks to more than {most} bytes; no data set is packed so small")
    return b"".join(pieces)


def _why(error: Exception) -> str:
    known = error.strerror if isinstance(error, OSError) else None
    return known or str(error) or type(error).__name__
