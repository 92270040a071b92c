"""Records of a database -> batches, in Caffe's order (data_layer.cpp): from the first key on, over and over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from caffe_compat.data.assembly import CACHE_BYTES, Assembler, Item, check_size
from caffe_compat.data.databases import Database
from caffe_compat.data.datum import Bytes, Datum, corrupt, parse_alike, parse_datum
from caffe_compat.data.images import decode_image
from caffe_compat.data.labels import MOST_BYTES, MOST_RECORDS, StoredLabels
from caffe_compat.data.lmdb import LMDB
from caffe_compat.data.raw_records import RawRecords
from caffe_compat.data.transform import Draws, Transform
from caffe_compat.errors import DataError

Shape = tuple[int, ...]
_COPIED = 1000  # records that are found together


class RecordCursor:
    """Records of a database in order and round again; of `ranks` readers, number `rank` gets every ranks-th record."""

    def __init__(self, database: Database, rank: int = 0, ranks: int = 1) -> None:
        self.database, self.rank, self.ranks = database, rank, ranks
        self._next = -1
        self._position = self._opened_at = 0
        self._stream: Iterator[Bytes] = iter(())

    def take(self, start: int, count: int) -> tuple[list[int], list[Bytes]]:
        """The numbers and the bytes of `count` records of this rank, from its record `start` on, over all passes."""
        if start != self._next:
            self._go_to(start * self.ranks)
        self._next = start + count
        numbers: list[int] = []
        records: list[Bytes] = []
        while len(records) < count * self.ranks:
            taken = list(itertools.islice(self._stream, count * self.ranks - len(records)))
            numbers.extend(range(self._position, self._position + len(taken)))
            records.extend(taken)
            self._position += len(taken)
            if len(records) < count * self.ranks:
                self._go_round()
        return numbers[self.rank :: self.ranks], records[self.rank :: self.ranks]

    def _go_to(self, position: int) -> None:
        self._position = self._opened_at = position % self.database.count if self.database.count else position
        self._stream = iter(self.database.records(self._position))

    def _go_round(self) -> None:
        """Back to the first record; DataError if there is none at all."""
        if self._position > self._opened_at:
            self._go_to(0)
            return
        self.database.count = sum(1 for _ in self.database.key_order())  # it ends before the position that was wanted
        if not self.database.count:
            raise DataError(f"{self.database.path}: the database is empty")
        self._go_to(self._position)


@dataclass(frozen=True)
class WholeSet:
    """A set that is in memory as a whole, for a device that puts its batches together itself.

    pixels: uint8 (images, height, width, channels), in the order of the database. labels: float32 (images,). Batch b of
    `batches` is pixels[numbers], cut at `batches.transform.corners(pixels.shape[1:], draws)` and flipped where
    draws.flips says so, for `numbers, draws = batches.choose(b)`; then (value - mean) * scale, the mean image cut and
    flipped alike.
    """

    pixels: np.ndarray
    labels: np.ndarray
    batches: DatumBatches


class DatumBatches:
    """Batches (images, labels) of a database of Datums.

    images: float32 (batch, channels, height, width), laid out in memory with channels last; labels: float32 (batch,).
    Batch b of rank r holds the records (b * batch_size + k) * ranks + r, k = 0, 1, ..., counted round the database.
    """

    def __init__(
        self,
        database: Database,
        batch_size: int,
        transform: Transform,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        cache_bytes: int = CACHE_BYTES,
        workers: int | None = None,
    ) -> None:
        self.database, self.batch_size, self.transform, self.seed = database, batch_size, transform, seed
        self._cursor = RecordCursor(database, rank, ranks)
        (number,), (record,) = self._cursor.take(0, 1)
        self._first = self._decode(number, self._parse(number, record)).shape
        self._rows = database.rows if isinstance(database, LMDB) else None
        self._raw = RawRecords(database) if isinstance(database, LMDB) else None
        self._assembler = Assembler(transform, database.count, self._first, self._where(0), cache_bytes, workers)

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of images and labels, from the first record."""
        height, width, channels = self.transform.output_shape(self._first, self._where(0))
        return [(self.batch_size, channels, height, width), (self.batch_size,)]

    def read(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch `index`, counted from 0."""
        numbers, draws = self.choose(index)
        batch = self._assembler.remembered(numbers, draws)
        if batch is None:
            batch = self._read_rows(numbers, draws) or self._read_records(index, draws)
        images, labels = batch
        return images.transpose(0, 3, 1, 2), labels

    def _read_rows(self, numbers: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray] | None:
        """The batch of raw records of an LMDB, all of one kind; None, from then on, where some are not."""
        found = None if self._rows is None or self._raw is None else self._raw.find(numbers)
        if found is not None:
            return self._assembler.stored(numbers, *found, draws, self._where(int(numbers[0])))
        rows = self._rows(numbers) if self._rows is not None else None
        alike = None if rows is None else _alike(rows)
        if alike is None:
            self._rows = None
            return None
        return self._assembler.stacked(numbers, *alike, draws, self._where(int(numbers[0])))

    def _read_records(self, index: int, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        taken, records = self._cursor.take(index * self.batch_size, self.batch_size)
        alike = _alike(records)
        if alike is not None:
            return self._assembler.stacked(taken, *alike, draws, self._where(taken[0]))
        return self._assembler.each(list(map(self._item, taken, records)), draws)

    def choose(self, index: int) -> tuple[np.ndarray, Draws]:
        """Which records make batch `index`, counted on through all passes where it is not known how many there are."""
        places = (index * self.batch_size + np.arange(self.batch_size)) * self._cursor.ranks + self._cursor.rank
        numbers = places % self.database.count if self.database.count else places
        return numbers, self.transform.draw(self.batch_size, self.seed, index)

    def whole_set(self, most_bytes: int = CACHE_BYTES) -> WholeSet | None:
        """All images and labels, decoded; None for a set of more bytes, of several sizes, or of floats."""
        count = self.database.count
        if not count or count * int(np.prod(self._first)) > most_bytes:
            return None
        pixels, labels = np.empty((count, *self._first), np.uint8), np.empty(count, np.float32)
        copied = self._copy_raw(pixels, labels)
        for number, record in enumerate(self.database.records(copied), copied):
            datum = self._parse(number, record)
            image = self._decode(number, datum)
            if image.shape != self._first or image.dtype != np.uint8:
                return None
            pixels[number], labels[number] = image, datum.label
        return WholeSet(pixels, labels, self)

    def _copy_raw(self, pixels: np.ndarray, labels: np.ndarray) -> int:
        """Copy the first records, as far as they are raw and a compiled loop finds them; how many these are."""
        for first in range(0, len(labels), _COPIED):
            numbers = np.arange(first, min(first + _COPIED, len(labels)))
            found = None if self._raw is None else self._raw.find(numbers)
            if found is None or found[0].shape != self._first:
                return first
            found[0].copy_to(pixels, numbers)
            labels[numbers] = found[1]
        return len(labels)

    def labels(self) -> StoredLabels:
        """The labels of the first records, no image file decoded.

        DataError where one of them is damaged, or a raw image is of another size than the first of its batch.
        """
        labels, passed, count, shape = list[int](), 0, self.database.count, self._first
        for number, record in enumerate(self.database.records()):
            if number == MOST_RECORDS or passed > MOST_BYTES:
                break
            passed += len(record)
            datum = self._parse(number, record)
            labels.append(datum.label)
            if not datum.encoded:
                found = self.transform.output_shape(self._decode(number, datum).shape, self._where(number))
                shape = shape if number % self.batch_size else found
                check_size(found, shape, self._where(number), "the first of its batch")
        else:
            count = len(labels)
        return StoredLabels({1: np.array(labels, np.float32)}, len(labels), count)

    def close(self) -> None:
        """Close the database and stop the decoding threads."""
        self._assembler.close()
        self.database.close()

    def _item(self, number: int, record: Bytes) -> Item:
        datum = self._parse(number, record)
        return Item(number, datum.label, self._where(number), partial(self._decode, number, datum))

    def _parse(self, number: int, record: Bytes) -> Datum:
        try:
            return parse_datum(record)
        except ValueError as error:
            raise corrupt(str(self.database.path), number, error) from error

    def _decode(self, number: int, datum: Datum) -> np.ndarray:
        """(height, width, channels) of one record."""
        if datum.encoded:
            return decode_image(datum.data, self._where(number), self.transform.color)
        try:
            return datum.array().transpose(1, 2, 0)
        except ValueError as error:
            raise corrupt(str(self.database.path), number, error) from error

    def _where(self, number: int) -> str:
        return f"{self.database.path}: record {number}"


def _alike(records: list[Bytes] | np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Images (batch, channels, height, width) and labels of raw records of one kind; None where they are others."""
    try:
        return parse_alike(records)
    except ValueError:
        return None  # the first is damaged; parsing one by one says how
