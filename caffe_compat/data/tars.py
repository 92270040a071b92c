"""Tar archives of strangers, packed or not: what they say of themselves costs no memory and no time."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from typing import IO, BinaryIO

from caffe_compat.errors import DataError

_TEXT = 1 << 20  # bytes that a header before a member may hold: a path has 4 KiB, extended attributes 64 KiB
_DICTIONARY = 256 << 20  # bytes that unpacking .xz may take, 65 MB for the strongest of xz's own levels
_BEYOND_LIMIT = "Memory usage limit exceeded"  # CPython's _lzmamodule.c, for LZMA_MEMLIMIT_ERROR
_PIECE = 1 << 16
_HEADED = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_LZMA, _ZERO_PADDING = (b"\xfd7zXZ\0", b"]\0\0"), b"\0"


def open_tar(file: BinaryIO, most: int, where: object) -> tarfile.TarFile:
    """The tar archive in `file`, whether packed by gzip, bzip2, xz or not at all.

    Members that end behind byte `most` of what it unpacks to raise DataError, which names `where`; a member of
    negative size, a header that is damaged and one that says that it has megabytes, tarfile.ReadError.
    """
    return tarfile.open(fileobj=_unpacked(file, where), mode="r:", tarinfo=_bounded(most, where))


def open_plain_tar(file: IO[bytes]) -> tarfile.TarFile:
    """The tar archive in `file`, which is not packed; where its members lie is for the caller to check."""
    return tarfile.open(fileobj=file, mode="r:", tarinfo=_bounded(1 << 63, ""))


def _unpacked(file: BinaryIO, where: object) -> IO[bytes]:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(file)  # type: ignore[return-value]
    if head.startswith(b"BZh"):
        return bz2.open(file)  # type: ignore[return-value]
    return io.BufferedReader(_Xz(file, where)) if head.startswith(_LZMA) else file


def _bounded(most: int, where: object) -> type[tarfile.TarInfo]:
    class Member(tarfile.TarInfo):
        """A member that is checked when it is read, also where tarfile looks for what a link leads to."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Member:
            try:
                member = super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError as error:
                if any(buf):  # tarfile takes damage for the end, which is zeros or nothing
                    raise tarfile.ReadError(f"{error} of a member") from None
                raise
            if member.type in _HEADED and not 0 <= member.size <= _TEXT:
                raise tarfile.ReadError(f"a header says that it has {member.size} bytes, {_TEXT} at most are read")
            return member

        @classmethod
        def fromtarfile(cls, archive: tarfile.TarFile) -> Member:
            member = super().fromtarfile(archive)
            if member.size < 0:  # it would lead back, or round in a circle
                raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
            if member.offset_data + member.size > most:
                raise DataError(f"{where}: unpacks to more than {most} bytes; no data set is packed so small")
            return member

    return Member


class _Xz(io.RawIOBase):
    """What an .xz or .lzma file unpacks to: as lzma.LZMAFile, which however gives every dictionary its memory."""

    def __init__(self, file: BinaryIO, where: object) -> None:
        self._file, self._where = file, where
        self._begin()

    def _begin(self) -> None:
        self._file.seek(0)
        self._at, self._stream = 0, self._next_stream()

    @staticmethod
    def _next_stream() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_DICTIONARY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Forward by unpacking, back by beginning anew; never from the end, which is not known."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the size of what is packed is not known")
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._at:
            self._begin()
        while self._at < target and self.read(min(_PIECE, target - self._at)):
            pass
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._stream.eof:
                rest = (self._stream.unused_data or self._file.read(_PIECE)).lstrip(_ZERO_PADDING)
                while not rest and (more := self._file.read(_PIECE)):
                    rest = more.lstrip(_ZERO_PADDING)
                if not rest:
                    return 0
                self._stream = self._next_stream()
            else:
                rest = self._file.read(_PIECE) if self._stream.needs_input else b""
                if self._stream.needs_input and not rest:
                    raise EOFError("the file is cut short")
            unpacked = self._decompress(rest, len(buffer))
            if unpacked:
                buffer[: len(unpacked)] = unpacked
                self._at += len(unpacked)
                return len(unpacked)

    def _decompress(self, packed: bytes, most: int) -> bytes:
        try:
            return self._stream.decompress(packed, most)
        except lzma.LZMAError as error:
            if str(error) != _BEYOND_LIMIT:
                raise
            megabytes = _DICTIONARY >> 20
            raise DataError(
                f"{self._where}: takes over {megabytes} MB to unpack; pack it with a smaller dictionary"
            ) from None
