"""HDF5 files that are made in memory and written by us.

On a full disk the HDF5 library fails where it closes a file, with an error that no caller can catch in good order, and
again when the process ends. So it never writes to the disk here: it makes an image in memory, which is written as any
other file is. For a file that grows, the library writes to an overlay, whose bytes are then added to the file.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py

from caffe_compat.proto.files import write_atomically


@contextmanager
def new_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """A new HDF5 file to fill; on leaving, its image is written to `path`, whole or not at all. Raises WriteError."""
    with h5py.File(uuid.uuid4().hex, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    with write_atomically(path) as temporary:
        temporary.write_bytes(image)


@contextmanager
def grown_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """The HDF5 file at `path`, to add to; what was there stays as it was where the disk does not take more.

    Raises OSError.
    """
    with open(path, "rb+") as stored:
        overlay = Overlay(stored)
        with h5py.File(overlay, "r+") as file:
            yield file
        overlay.apply()


class Overlay(io.RawIOBase):
    """A file as it would be after some writes, which stay in memory until `apply`."""

    BLOCK = 1 << 16

    def __init__(self, stored: Any) -> None:
        self._stored = stored
        self._before = self._size = os.fstat(stored.fileno()).st_size
        self._place = 0
        self._blocks: dict[int, bytearray] = {}  # number -> content, of those that were written to

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def truncate(self, size: int | None = None) -> int:
        self._size = self._place if size is None else size
        return self._size

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        count = max(0, min(len(target), self._size - self._place))
        for start, end, number, offset in self._pieces(count):
            target[start:end] = self._block(number)[offset : offset + end - start]
        self._place += count
        return count

    def write(self, data: Any) -> int:
        source = memoryview(data).cast("B")
        for start, end, number, offset in self._pieces(len(source)):
            block = self._blocks.setdefault(number, bytearray(self._block(number)))
            block[offset : offset + end - start] = source[start:end]
        self._place += len(source)
        self._size = max(self._size, self._place)
        return len(source)

    def apply(self) -> None:
        """Write to the stored file: first what lies behind its end, then what changes within. Raises OSError.

        Where the disk is full the file is cut to its old size again, which nothing of it has noticed.
        """
        handle = self._stored.fileno()
        inner = [number for number in sorted(self._blocks) if number * self.BLOCK < self._before]
        try:
            for number in sorted(self._blocks.keys() - set(inner)):
                self._put(handle, number, 0)
            for number in inner:
                self._put(handle, number, max(0, self._before - number * self.BLOCK))
            os.ftruncate(handle, self._size)
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, self._before)
            raise
        for number in inner:
            end = min(self._before - number * self.BLOCK, self.BLOCK)
            os.pwrite(handle, self._blocks[number][:end], number * self.BLOCK)
        os.fsync(handle)

    def _put(self, handle: int, number: int, start: int) -> None:
        """Write one block from its byte `start` on, as far as the file goes."""
        place = number * self.BLOCK + start
        content = memoryview(self._blocks[number])[start : max(start, self._size - number * self.BLOCK)]
        while content:
            written = os.pwrite(handle, content, place)
            content, place = content[written:], place + written

    def _block(self, number: int) -> bytes | bytearray:
        if number in self._blocks:
            return self._blocks[number]
        content: bytes = os.pread(self._stored.fileno(), self.BLOCK, number * self.BLOCK)
        return content.ljust(self.BLOCK, b"\0")

    def _pieces(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """(start, end, block, offset in it) of each part of the next `count` bytes."""
        start = 0
        while start < count:
            number, offset = divmod(self._place + start, self.BLOCK)
            end = min(count, start + self.BLOCK - offset)
            yield start, end, number, offset
            start = end
