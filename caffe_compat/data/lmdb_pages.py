"""The pages of an LMDB file, walked with every offset held against the file.

The C library trusts what a page says: a flipped bit in one sends it, or whoever reads the record, beyond the end of the
file, which ends the process. Format: lmdb's mdb.c, MDB_page, MDB_node, MDB_meta, on 64-bit little endian machines.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError

_PAGE_HEADER = struct.Struct("<QHHHH")  # number, pad, flags, lower and upper end of the free space
_NODE = struct.Struct("<HHHH")  # size of the data or number of the page in two parts, flags, size of the key
_BRANCH, _LEAF = 1, 2  # flags of a page
_BIG, _NESTED = 1, 6  # flags of a node: data on pages of its own; data that is a database itself
_DATABASE, _TRANSACTION = 88, 144  # where a meta page has the main database, and the transaction that wrote it
_EMPTY = 2**64 - 1
_DEEPEST = 32


class Pages:
    """The records of the main database as transaction `transaction` sees them, in key order."""

    def __init__(self, file: Path, transaction: int) -> None:
        self.file = file
        with file.open("rb") as handle:
            self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = memoryview(self._map)
        (self._size,) = struct.unpack_from("<I", self._bytes, 40)
        if self._size not in (1 << bits for bits in range(9, 17)):
            raise self._damaged(f"pages of {self._size} bytes")
        metas = [self._page(number) for number in (0, 1)]
        meta = next((m for m in metas if struct.unpack_from("<Q", m, _TRANSACTION)[0] == transaction), None)
        if meta is None:
            raise self._damaged(f"no transaction {transaction}")
        self.count, self._root = struct.unpack_from("<QQ", meta, _DATABASE + 32)
        if self.count > len(self._bytes) // _NODE.size:
            raise self._damaged(f"{self.count} records in {len(self._bytes)} bytes")

    def records(self, start: int = 0) -> Iterator[tuple[memoryview, memoryview]]:
        """Key and value from record `start` on. Raises DataError where a page is damaged."""
        if self._root == _EMPTY:
            return
        visits = iter(range(len(self._bytes) // self._size))  # no page twice
        for page, count in self._leaves(self._root, 0, visits):
            if start >= count:
                start -= count
                continue
            for offset in self._offsets(page, count)[start:]:
                yield self._record(page, offset)
            start = 0

    def _leaves(self, number: int, depth: int, visits: Iterator[int]) -> Iterator[tuple[memoryview, int]]:
        """The leaves below page `number` and how many records each has."""
        if depth > _DEEPEST or next(visits, None) is None:
            raise self._damaged("pages in a circle")
        page = self._page(number)
        _, _, flags, lower, _ = _PAGE_HEADER.unpack_from(page)
        count = (lower - _PAGE_HEADER.size) // 2
        if not 0 < count <= (self._size - _PAGE_HEADER.size) // 2 or flags & (_BRANCH | _LEAF) not in (_BRANCH, _LEAF):
            raise self._damaged(f"page {number}")
        if flags & _LEAF:
            yield page, count
            return
        for offset in self._offsets(page, count):
            low, high, top, _ = _NODE.unpack_from(page, offset)
            yield from self._leaves(low | high << 16 | top << 32, depth + 1, visits)

    def _offsets(self, page: memoryview, count: int) -> list[int]:
        """Where the nodes of a page begin."""
        offsets = np.frombuffer(page, "<u2", count, _PAGE_HEADER.size)
        if int(offsets.max()) > self._size - _NODE.size:
            raise self._damaged("a node outside its page")
        found: list[int] = offsets.tolist()
        return found

    def _record(self, page: memoryview, offset: int) -> tuple[memoryview, memoryview]:
        low, high, flags, key_size = _NODE.unpack_from(page, offset)
        size, key_at = low | high << 16, offset + _NODE.size
        data_at = key_at + key_size
        if flags & _NESTED:
            raise self._damaged("a database inside the database, which Caffe never writes")
        if flags & _BIG:
            if data_at + 8 > self._size:
                raise self._damaged("a record outside its page")
            first = struct.unpack_from("<Q", page, data_at)[0] * self._size + _PAGE_HEADER.size
            if first + size > len(self._bytes):
                raise self._damaged(f"a record of {size} bytes outside the file")
            return page[key_at:data_at], self._bytes[first : first + size]
        if data_at + size > self._size:
            raise self._damaged("a record outside its page")
        return page[key_at:data_at], page[data_at : data_at + size]

    def _page(self, number: int) -> memoryview:
        start = number * self._size
        if start + self._size > len(self._bytes):
            raise self._damaged(f"page {number} outside the file")
        return self._bytes[start : start + self._size]

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self.file}: is damaged: {what}; copy it again, or make it anew")
