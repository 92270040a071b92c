"""Files from outside, read whole: as bytes, as text, as JSON; whatever is wrong with one is said in one line.

Only regular files are opened. A FIFO or a device would make whoever reads it wait, for ever perhaps, and a folder is no
file; each is refused at once and by name.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import Any, BinaryIO

from caffe_compat.errors import CaffeCompatError, DataError, ParseError
from caffe_compat.proto.recognition import HEAD, recognised

_KINDS = {
    stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
_BLOCKING_NOT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


UTF16 = (b"\xff\xfe", b"\xfe\xff")  # how such a text begins
HDF5_MARK = b"\x89HDF\r\n\x1a\n"
HDF5_FOR_LIST = "this is HDF5 itself; name it in a list, and the list in the net"


def open_file(path: str | os.PathLike[str], buffering: int = -1) -> BinaryIO:
    """The regular file at `path`, open for reading bytes. Raises OSError, of anything but a regular file at once."""
    name = os.fspath(path)
    if "\0" in name:
        raise OSError(errno.EINVAL, "no file has a NUL character in its name", name)
    handle = os.open(name, os.O_RDONLY | _BLOCKING_NOT)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "no file")
            raise OSError(errno.EINVAL, f"is {kind}; a regular file is wanted", name)
        return os.fdopen(handle, "rb", buffering)  # type: ignore[return-value]
    except BaseException:
        os.close(handle)
        raise


def slashes_hint(path: str | os.PathLike[str]) -> str:
    """The end of a message on a file that is not there, where only backslashes for slashes are at fault; else empty."""
    name = os.fspath(path)
    with_slashes = name.replace("\\", os.sep)
    known = with_slashes != name and not os.path.exists(name) and os.path.exists(with_slashes)
    return f"; {with_slashes} is there: write {os.sep} between folders" if known else ""


def unread(path: str | os.PathLike[str], reason: OSError) -> str:
    """The line on a file that cannot be opened."""
    return f"{path}: cannot be read: {reason.strerror}{slashes_hint(path)}"


def check_regular(path: str | os.PathLike[str], error: type[CaffeCompatError] = DataError) -> None:
    """Raises `error` unless there is a regular file at `path` that can be read: for libraries that open by name."""
    try:
        open_file(path).close()
    except OSError as reason:
        raise error(unread(path, reason)) from reason


def read_bytes(path: str | os.PathLike[str], error: type[CaffeCompatError] = ParseError) -> bytes:
    """All bytes of the file at `path`. Raises `error` where it cannot be read."""
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as reason:
        raise error(unread(path, reason)) from reason


def read_head(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of the file at `path`, as many as tell what it is. Raises ParseError where it cannot be read."""
    try:
        with open_file(path) as file:
            return file.read(HEAD)
    except OSError as reason:
        raise ParseError(unread(path, reason)) from reason


def head_or_nothing(path: str | os.PathLike[str]) -> bytes:
    """`read_head`; no bytes where the file cannot be read."""
    try:
        return read_head(path)
    except ParseError:
        return b""


def read_lines(path: str | os.PathLike[str], error: type[CaffeCompatError] = DataError) -> list[str]:
    """The lines of a list or a log, without their ends.

    Bytes that are no UTF-8 come as the system's file names have them (os.fsdecode), for that is what lists hold. A
    byte order mark is left out; UTF-16, as some shells write it, is read as such. Raises `error`, also for a file that
    is known to be something else, such as one of the files that its list should name.
    """
    content = read_bytes(path, error)
    told = HDF5_FOR_LIST if content.startswith(HDF5_MARK) else recognised(content[:HEAD]) if content else ""
    if told:
        raise error(f"{path}: {told}; a text file is wanted, one line for each entry")
    return decoded(content).replace("\r\n", "\n").split("\n")


def decoded(content: bytes) -> str:
    """`content` as text without a byte order mark: UTF-8, stray bytes as surrogates, or UTF-16 where its mark is."""
    if content[:2] in UTF16 and len(content) % 2 == 0:
        return content.decode("utf-16", "replace")
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def read_json(path: str | os.PathLike[str], wanted: str, error: type[CaffeCompatError] = DataError) -> Any:
    """What the JSON file at `path` holds. Raises `error` that says `wanted` where that is none, or too deep."""
    content = read_bytes(path, error)
    try:
        return parse_json(content)
    except ValueError as reason:
        raise error(f"{path}: {wanted} is wanted, and this is no JSON ({reason}); mend or remove the file") from None


def parse_json(content: bytes | str) -> Any:
    """The value that JSON text spells. Raises ValueError for whatever is wrong with it, its depth too."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("values lie in one another too deep") from None
