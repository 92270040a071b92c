"""Lists of image files -> batches, as Caffe's ImageData reads them (image_data_layer.cpp)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from caffe_compat.data.assembly import CACHE_BYTES, Assembler, Item
from caffe_compat.data.images import missing_hint, read_image
from caffe_compat.data.labels import StoredLabels
from caffe_compat.data.order import generator, permutation
from caffe_compat.data.transform import Transform
from caffe_compat.errors import DataError, MissingDataError
from caffe_compat.proto.reading import read_lines

Shape = tuple[int, ...]
_LOOKED_FOR = 1000
_LABEL = re.compile(r"[+-]?0*[0-9]{1,9}")


def read_image_list(path: Path) -> list[tuple[str, int]]:
    """(name, label) of every line of a list file: the label comes after the last space, so names may have spaces."""
    entries = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        name, _, label = line.rstrip().rpartition(" ")
        if not _LABEL.fullmatch(label):
            raise DataError(f"{path}:{number}: '{line}' should be an image's name, a space and a whole number")
        entries.append((name.rstrip(), int(label)))
        if not name.strip():
            raise DataError(f"{path}:{number}: '{line}' names no image; wanted a name, a space and a label")
    if not entries:
        raise DataError(f"{path}: the list is empty; it should name an image and its label in each line")
    return entries


@dataclass(frozen=True)
class Loading:
    """How image files become arrays: `root` goes before each name; height and width 0 keep an image's own size."""

    root: str = ""
    height: int = 0
    width: int = 0
    color: bool = True

    def __call__(self, name: str) -> np.ndarray:
        """(height, width, channels) of the file `name`."""
        return read_image(Path(self.root + name), self.height, self.width, self.color)


class ImageBatches:
    """Batches (images, labels) of a list of image files; arrays as DatumBatches gives them.

    `shuffle` draws a new order for every pass, `skip` (ImageData's rand_skip) a first image among as many; both follow
    from `seed`. A new pass begins within a batch, where the list ends.
    """

    def __init__(
        self,
        entries: list[tuple[str, int]],
        load: Loading,
        batch_size: int,
        transform: Transform,
        shuffle: bool = False,
        skip: int = 0,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        cache_bytes: int = CACHE_BYTES,
        workers: int | None = None,
    ) -> None:
        self.entries, self.load, self.batch_size, self.transform = entries, load, batch_size, transform
        self.shuffle, self.seed, self.rank, self.ranks = shuffle, seed, rank, ranks
        self._start = int(generator(seed, 0, 1).integers(skip)) if skip else 0
        if self._start >= len(entries):
            raise DataError(f"rand_skip {skip} passes over all {len(entries)} images; set it lower")
        self._order = (-1, np.arange(len(entries)))
        name = entries[self._numbers(0)[0]][0]
        self._first = load(name).shape
        self._assembler = Assembler(transform, len(entries), self._first, load.root + name, cache_bytes, workers)

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of images and labels, from the first image."""
        height, width, channels = self.transform.output_shape(self._first, self.entries[0][0])
        return [(self.batch_size, channels, height, width), (self.batch_size,)]

    def read(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch `index`, counted from 0."""
        draws = self.transform.draw(self.batch_size, self.seed, index)
        numbers = self._numbers(index)
        batch = self._assembler.remembered(numbers, draws)
        if batch is None:
            batch = self._assembler.each([self._item(int(number)) for number in numbers], draws)
        images, labels = batch
        return images.transpose(0, 3, 1, 2), labels

    def peek(self) -> tuple[np.ndarray, ...]:
        """The first batch, after a look for the files of the first 1000 entries."""
        for name, _ in self.entries[:_LOOKED_FOR]:
            path = self.load.root + name
            if not os.path.exists(path):
                raise MissingDataError(f"{path}: there is no such image{missing_hint(path)}")
        return self.read(0)

    def labels(self) -> StoredLabels:
        """The labels of the whole list."""
        labels = np.array([label for _, label in self.entries], np.float32)
        return StoredLabels({1: labels}, len(labels), len(labels))

    def close(self) -> None:
        """Stop the decoding threads."""
        self._assembler.close()

    def _item(self, number: int) -> Item:
        name, label = self.entries[number]
        return Item(number, label, self.load.root + name, partial(self.load, name))

    def _numbers(self, index: int) -> np.ndarray:
        """Which entries make batch `index`."""
        places = self._start + (index * self.batch_size + np.arange(self.batch_size)) * self.ranks + self.rank
        passes, places = np.divmod(places, len(self.entries))
        if not self.shuffle:
            return places
        return np.array([self._shuffled(int(epoch))[place] for epoch, place in zip(passes, places, strict=True)])

    def _shuffled(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            self._order = epoch, permutation(len(self.entries), self.seed, epoch)
        return self._order[1]
