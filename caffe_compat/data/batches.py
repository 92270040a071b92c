"""Records of a database -> batches, in Caffe's order (data_layer.cpp): from the first key on, over and over."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from caffe_compat.data.databases import Database
from caffe_compat.data.datum import Bytes, Datum, corrupt, parse_alike, parse_datum
from caffe_compat.data.images import decode_image
from caffe_compat.data.transform import Draws, Transform
from caffe_compat.errors import DataError

Shape = tuple[int, ...]
CACHE_BYTES = 1 << 29  # a set whose pixels fit in here is kept in memory after its first pass

_log = logging.getLogger(__name__)


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
    A set of equal images that fits in `cache_bytes` is kept as uint8 after it was read once. Encoded images are
    decoded by `workers` threads.
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
        self._workers = workers or len(os.sched_getaffinity(0))
        self._pool: ThreadPoolExecutor | None = None
        first = self._cursor.take(0, 1)[0]
        self._first = self._image(*first)[0].shape
        self._cache = _Cache.for_set(database.count, self._first, cache_bytes)

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
        if self._cache is not None and self._cache.has(numbers):
            pixels, labels = self._cache.get(numbers)
            images = self.transform.stack(pixels, draws)
        else:
            images, labels = self._fetch(self._cursor.take(start, self.batch_size), draws)
        return images.transpose(0, 3, 1, 2), labels

    def close(self) -> None:
        """Close the database and stop the decoding threads."""
        if self._pool is not None:
            self._pool.shutdown()
        self.database.close()

    def _fetch(self, records: list[tuple[int, Bytes]], draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        numbers = [number for number, _ in records]
        try:
            alike = parse_alike([record for _, record in records])
        except ValueError:
            alike = None  # the first is damaged; parsing one by one says how
        pixels: np.ndarray | list[np.ndarray]
        if alike is not None:
            planes, labels = alike
            pixels = _channels_last(planes)
            self.transform.output_shape(pixels.shape[1:], self._where(numbers[0]))
            images = self.transform.stack(pixels, draws)
        else:
            datums = [self._parse(*record) for record in records]
            labels = np.array([datum.label for datum in datums], np.float32)
            pixels, images = self._place_each(numbers, datums, draws)
        if self._cache is not None and not self._cache.put(numbers, pixels, labels):
            self._cache = None
        return images, labels

    def _place_each(
        self, numbers: Sequence[int], datums: Sequence[Datum], draws: Draws
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Images as decoded, and transformed: one by one, in several threads; results must be of one size."""
        first = self._decode(numbers[0], datums[0])
        shape = self.transform.output_shape(first.shape, self._where(numbers[0]))
        target = np.empty((len(datums), *shape), np.float32)

        def place(index: int) -> np.ndarray:
            image = self._decode(numbers[index], datums[index]) if index else first
            found = self.transform.output_shape(image.shape, self._where(numbers[index]))
            if found != shape:
                raise DataError(
                    f"{self._where(numbers[index])}: the image is {found} (height, width, channels), others of its "
                    f"batch are {shape}; set crop_size, or resize the images to one size"
                )
            self.transform.place(image, draws, index, target[index])
            return image

        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, "decode")
        return list(self._pool.map(place, range(len(datums)))), target

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

    def _image(self, number: int, record: Bytes) -> tuple[np.ndarray, int]:
        datum = self._parse(number, record)
        return self._decode(number, datum), datum.label

    def _where(self, number: int) -> str:
        return f"{self.database.path}: record {number}"


def _channels_last(planes: np.ndarray) -> np.ndarray:
    """(batch, channels, height, width) uint8 as (batch, height, width, channels) in memory, a channel at a time."""
    count, channels, height, width = planes.shape
    pixels = np.empty((count, height, width, channels), np.uint8)
    for channel in range(channels):
        pixels[..., channel] = planes[:, channel]
    return pixels


class _Cache:
    """The uint8 images and the labels of a whole set, filled as records come by."""

    def __init__(self, count: int, shape: Shape) -> None:
        self._pixels = np.empty((count, *shape), np.uint8)
        self._labels = np.empty(count, np.float32)
        self._known = np.zeros(count, bool)

    @classmethod
    def for_set(cls, count: int | None, shape: Shape, limit: int) -> _Cache | None:
        """A cache for `count` images of `shape`, if they fit in `limit` bytes."""
        return cls(count, shape) if count and count * int(np.prod(shape)) <= limit else None

    def has(self, numbers: np.ndarray) -> bool:
        return bool(self._known[numbers % len(self._known)].all())

    def get(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = numbers % len(self._known)
        return self._pixels[numbers], self._labels[numbers]

    def put(self, numbers: Sequence[int], images: np.ndarray | Sequence[np.ndarray], labels: np.ndarray) -> bool:
        """Keep `images`; False if they are not like the others, so that the set cannot be kept."""
        if any(image.shape != self._pixels.shape[1:] or image.dtype != np.uint8 for image in images):
            return False
        self._pixels[numbers] = images
        self._labels[numbers] = labels
        self._known[numbers] = True
        return True
