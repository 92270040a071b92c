"""The pages of an LMDB file, walked with every offset held against the file.

The C library trusts what a page says: a flipped bit in one sends it, or whoever reads the record, beyond the end of the
file, which ends the process. Format: lmdb's mdb.c, MDB_page, MDB_node, MDB_meta, on 64-bit little endian machines.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError
from caffe_compat.proto.reading import open_file

_PAGE_HEADER = struct.Struct("<QHHHH")  # number, pad, flags, lower and upper end of the free space
_NODE = struct.Struct("<HHHH")  # size of the data or number of the page in two parts, flags, size of the key
_BRANCH, _LEAF = 1, 2  # flags of a page
_BIG, _NESTED = 1, 6  # flags of a node: data on pages of its own; data that is a database itself
_DATABASE, _TRANSACTION = 88, 144  # where a meta page has the main database, and the transaction that wrote it
_EMPTY = 2**64 - 1
_DEEPEST = 32


class Pages:
    """The records of the main database as transaction `transaction` sees them, in key order."""

    _walk: Iterator[tuple[int, np.ndarray]] | None = None  # of `rows`

    def __init__(self, file: Path, transaction: int) -> None:
        self.file = file
        self._handle = open_file(file)
        weakref.finalize(self, self._handle.close)
        self._map = mmap.mmap(self._handle.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = memoryview(self._map)
        (self._size,) = struct.unpack_from("<I", self.bytes, 40)
        if self._size not in (1 << bits for bits in range(9, 17)):
            raise self._damaged(f"pages of {self._size} bytes")
        metas = [self._page(number) for number in (0, 1)]
        meta = next((m for m in metas if struct.unpack_from("<Q", m, _TRANSACTION)[0] == transaction), None)
        if meta is None:
            raise self._damaged(f"no transaction {transaction}")
        self.count, self._root = struct.unpack_from("<QQ", meta, _DATABASE + 32)
        if self.count > len(self.bytes) // _NODE.size:
            raise self._damaged(f"{self.count} records in {len(self.bytes)} bytes")

    def values(self, start: int = 0) -> Iterator[memoryview]:
        """The values from record `start` on. Raises DataError where a page is damaged."""
        for page, offsets in self._nodes(start):
            _, begins, ends = (places.tolist() for places in self._spans(page, offsets))
            yield from [self.bytes[begin:end] for begin, end in zip(begins, ends, strict=True)]

    def rows(self, numbers: np.ndarray) -> np.ndarray | None:
        """The values of these records as a new array (records, bytes), uint8; None where they are not of one length.

        Raises DataError where a page is damaged, or the file became shorter.
        """
        begins, ends = self.places(numbers)
        begin, lengths = begins[numbers], ends[numbers] - begins[numbers]
        length = int(lengths[0])
        if not length or (lengths != length).any():
            return None
        return self._numbers(begin, "u1", length)

    def places(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where records begin and end in the file, int64, for all up to the last of these at least.

        16 bytes are kept for each. Raises DataError where a page is damaged, or the file became shorter.
        """
        places = self._located(int(numbers.max()))
        self._check_length()
        return places

    @functools.cached_property
    def address(self) -> int:
        """Where the file begins in memory, as long as this object is there."""
        return np.frombuffer(self.bytes, np.uint8).ctypes.data

    def _located(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Where records begin and end, up to `number` at least."""
        if self._walk is None:
            self._places = np.empty((2, self.count), np.int64)
            self._known, self._walk = 0, self._nodes(0)
        while self._known <= number:
            page, offsets = next(self._walk, (0, np.empty(0, np.int64)))
            if not len(offsets) or self._known + len(offsets) > self.count:
                raise self._damaged(f"not the {self.count} records that it counts")
            _, begins, ends = self._spans(page, offsets)
            self._places[:, self._known : self._known + len(offsets)] = begins, ends
            self._known += len(offsets)
        return self._places[0], self._places[1]

    def keys(self) -> Iterator[memoryview]:
        """The keys in order. Raises DataError where a page is damaged."""
        for page, offsets in self._nodes(0):
            ends = self._spans(page, offsets)[0].tolist()
            yield from [
                self.bytes[at + _NODE.size : end] for at, end in zip((page + offsets).tolist(), ends, strict=True)
            ]

    def _nodes(self, start: int) -> Iterator[tuple[int, np.ndarray]]:
        """Leaf by leaf from record `start` on: where the page begins in the file, and where in it its nodes do."""
        if self._root == _EMPTY:
            return
        visits = iter(range(len(self.bytes) // self._size))  # no page twice
        for page, offsets in self._leaves(self._root, 0, visits):
            if start < len(offsets):
                yield page, offsets[start:]
            start = max(start - len(offsets), 0)

    def _leaves(self, number: int, depth: int, visits: Iterator[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The leaves below page `number`: where each begins in the file, and the offsets of its records."""
        if depth > _DEEPEST or next(visits, None) is None:
            raise self._damaged("pages in a circle")
        page = self._page(number)
        _, _, flags, lower, _ = _PAGE_HEADER.unpack_from(page)
        count = (lower - _PAGE_HEADER.size) // 2
        if not 0 < count <= (self._size - _PAGE_HEADER.size) // 2 or flags & (_BRANCH | _LEAF) not in (_BRANCH, _LEAF):
            raise self._damaged(f"page {number}")
        offsets = np.frombuffer(page, "<u2", count, _PAGE_HEADER.size).astype(np.int64)
        if int(offsets.max()) > self._size - _NODE.size:
            raise self._damaged("a node outside its page")
        if flags & _LEAF:
            yield number * self._size, offsets
            return
        for offset in offsets.tolist():
            low, high, top, _ = _NODE.unpack_from(page, offset)
            yield from self._leaves(low | high << 16 | top << 32, depth + 1, visits)

    def _spans(self, page: int, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the records at `offsets` of the leaf at `page`: where keys end, and values begin and end, in the file."""
        low, high, flags, key_size = self._numbers(page + offsets, "<u2", 4).astype(np.int64).T
        size, key_end = low | high << 16, page + offsets + _NODE.size + key_size
        if (flags & _NESTED).any():
            raise self._damaged("a database inside the database, which Caffe never writes")
        big = (flags & _BIG).astype(bool)
        if (key_end + np.where(big, 8, size) > page + self._size).any():
            raise self._damaged("a record outside its page")
        begin = key_end.copy()
        if big.any():
            first = self._numbers(key_end[big], "<u8", 1)[:, 0]
            if (first > len(self.bytes) // self._size).any():
                raise self._damaged(f"a record on page {first.max()}")
            begin[big] = first.astype(np.int64) * self._size + _PAGE_HEADER.size
        end = begin + size
        if (end > len(self.bytes)).any():
            raise self._damaged(f"a record of {size[end.argmax()]} bytes outside the file")
        return key_end, begin, end

    def _numbers(self, places: np.ndarray, kind: str, count: int) -> np.ndarray:
        """`count` numbers of `kind` from each of `places` in the file on: (places, count)."""
        length = np.dtype(kind).itemsize * count
        everywhere = np.ndarray((len(self.bytes) - length + 1,), f"V{length}", self.bytes, 0, (1,))
        numbers: np.ndarray = everywhere[places].view(kind).reshape(-1, count)
        return numbers

    def _page(self, number: int) -> memoryview:
        """The bytes of a page."""
        start = number * self._size
        self._check_length()
        if start + self._size > len(self.bytes):
            raise self._damaged(f"page {number} outside the file")
        return self.bytes[start : start + self._size]

    def _check_length(self) -> None:
        """DataError where the file is no longer as long as its map: see docs/formats.md."""
        if os.fstat(self._handle.fileno()).st_size < len(self.bytes):
            raise DataError(f"{self.file}: became shorter while it was read; nothing may change it meanwhile")

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self.file}: is damaged: {what}; copy it again, or make it anew")
