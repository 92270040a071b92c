"""Records of a database -> batches, in Caffe's order (data_layer.cpp): from the first key on, over and over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np

from caffe_compat.data.assembly import CACHE_BYTES, Assembler, Item
from caffe_compat.data.databases import Database
from caffe_compat.data.datum import Bytes, Datum, corrupt, parse_alike, parse_datum
from caffe_compat.data.images import decode_image
from caffe_compat.data.transform import Transform
from caffe_compat.errors import DataError

Shape = tuple[int, ...]


class RecordCursor:
    """Records of a database in order and round again; of `ranks` readers, number `rank` gets every ranks-th record."""

    def __init__(self, database: Database, rank: int = 0, ranks: int = 1) -> None:
        self.database, self.rank, self.ranks = database, rank, ranks
        self._next = -1
        self._stream: Iterator[tuple[int, Bytes]] = iter(())

    def take(self, start: int, count: int) -> list[tuple[int, Bytes]]:
        """(number, bytes) of `count` records of this rank, from its record `start` on, counted over all passes."""
        if start != self._next:
            forever = _round_and_round(self.database, start * self.ranks + self.rank)
            self._stream = itertools.islice(forever, 0, None, self.ranks)
        self._next = start + count
        return list(itertools.islice(self._stream, count))


def _round_and_round(database: Database, start: int) -> Iterator[tuple[int, Bytes]]:
    """(number, record) from record `start` on, counted over all passes; DataError if there is none at all."""
    position = start % database.count if database.count else start
    while True:
        read = -1
        for read, record in enumerate(database.records(position)):
            yield position + read, record
        if read >= 0:
            position = 0
            continue
        database.count = sum(1 for _ in database.key_order())  # it ends before `position`
        if not database.count:
            raise DataError(f"{database.path}: the database is empty")
        position %= database.count


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
        number, record = self._cursor.take(0, 1)[0]
        self._first = self._decode(number, self._parse(number, record)).shape
        self._assembler = Assembler(transform, database.count, self._first, cache_bytes, workers)

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of images and labels, from the first record."""
        height, width, channels = self.transform.output_shape(self._first, self._where(0))
        return [(self.batch_size, channels, height, width), (self.batch_size,)]

    def read(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch `index`, counted from 0."""
        draws = self.transform.draw(self.batch_size, self.seed, index)
        start = index * self.batch_size
        numbers = (start + np.arange(self.batch_size)) * self._cursor.ranks + self._cursor.rank
        batch = self._assembler.remembered(numbers, draws)
        if batch is None:
            records = self._cursor.take(start, self.batch_size)
            alike = _alike(records)
            if alike is not None:
                taken = [number for number, _ in records]
                batch = self._assembler.stacked(taken, *alike, draws, self._where(taken[0]))
            else:
                batch = self._assembler.each([self._item(*record) for record in records], draws)
        images, labels = batch
        return images.transpose(0, 3, 1, 2), labels

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


def _alike(records: list[tuple[int, Bytes]]) -> tuple[np.ndarray, np.ndarray] | None:
    """Images (batch, height, width, channels) and labels of raw records of one kind; None where they are others."""
    try:
        alike = parse_alike([record for _, record in records])
    except ValueError:
        return None  # the first is damaged; parsing one by one says how
    if alike is None:
        return None
    planes, labels = alike
    count, channels, height, width = planes.shape
    pixels = np.empty((count, height, width, channels), np.uint8)
    for channel in range(channels):  # a channel at a time is several times faster than one transposing copy
        pixels[..., channel] = planes[:, channel]
    return pixels, labels
