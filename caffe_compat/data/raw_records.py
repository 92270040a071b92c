"""Raw Datums of an LMDB found a batch at a time where they lie in its map, where Numba is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe_compat.data.datum import ENCODED_FALSE, LABEL_BYTES, parse_datum
from caffe_compat.data.lmdb import LMDB
from caffe_compat.data.one_pass import Stored, compiled


@dataclass(frozen=True)
class _Kind:
    """What the records of one kind have in common: their length, all before the pixels, and the fields after them.

    shape: (channels, height, width). label: of records whose label, if any, comes before the pixels.
    """

    shape: tuple[int, int, int]
    length: int
    head: np.ndarray
    label_at: int
    label_bytes: int
    closed: bool
    label: int

    @classmethod
    def of(cls, record: memoryview) -> _Kind | None:
        """That of a record; None where it is not raw, or has fields after the pixels that no loop reads."""
        try:
            datum = parse_datum(record)
        except ValueError:
            return None  # which reading it by itself will tell
        size, end = len(datum.data), datum.offset + len(datum.data)
        if datum.encoded or not size or size != datum.shape[0] * datum.shape[1] * datum.shape[2]:
            return None
        tail = bytes(record[end:])
        closed = len(tail) > len(ENCODED_FALSE) and tail.endswith(ENCODED_FALSE)
        label_bytes = len(tail) - closed * len(ENCODED_FALSE)
        if label_bytes and label_bytes not in LABEL_BYTES:
            return None
        head = np.frombuffer(record[: datum.offset], np.uint8).copy()
        return cls(datum.shape, len(record), head, end, label_bytes, closed, datum.label)


class RawRecords:
    """The records of an LMDB, as long as they are of one kind."""

    def __init__(self, database: LMDB) -> None:
        self._pages = database.pages
        self._kind: _Kind | None = None

    def find(self, numbers: np.ndarray) -> tuple[Stored, np.ndarray] | None:
        """These records' images and labels, float32; None where they are not all of one kind, or there is no loop.

        Raises DataError where a page is damaged, or the file became shorter.
        """
        records, pixels = compiled("records"), compiled("pixels")
        if records is None or pixels is None:
            return None
        begins, ends = self._pages.places(numbers)
        if self._kind is None:
            first = int(numbers[0])
            self._kind = _Kind.of(self._pages.bytes[int(begins[first]) : int(ends[first])])
        kind, count = self._kind, len(numbers)
        if kind is None or kind.shape[0] * kind.shape[2] > pixels.ROW:
            return None
        places, labels, found = np.empty(count, np.int64), np.full(count, kind.label, np.float32), np.zeros(1, np.int64)
        where = (begins, ends, self._pages.address, kind.length)
        tail = (kind.label_at, kind.label_bytes, int(kind.closed))
        records.find(1, numbers, count, *where, kind.head, len(kind.head), *tail, places, labels, found, threads=1)
        if found[0] < count:
            self._kind = None  # the next batch may be of one again
            return None
        channels, height, width = kind.shape
        return Stored(places, (height, width, channels), True, pixels, self._pages), labels
