"""Decoded images -> one transformed batch, with several threads and a memory of small sets."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from caffe_compat.data.images import interleaved
from caffe_compat.data.one_pass import Stored
from caffe_compat.data.transform import Draws, Transform
from caffe_compat.errors import DataError

Shape = tuple[int, ...]
Numbers: TypeAlias = "Sequence[int] | np.ndarray"
CACHE_BYTES = 1 << 29  # a set whose pixels fit in here is kept in memory after its first pass
LARGE = 1 << 22  # bytes of a batch that no cache need hold; also of the part of one that a thread makes at once
_UNUSED = 3  # references to an array that only its list, a loop variable and the counting call hold; views count too


@dataclass(frozen=True)
class Item:
    """One image to come: its number in the set, its label, its name in messages, and how to get its pixels."""

    number: int
    label: float
    where: str
    decode: Callable[[], np.ndarray]


def check_size(found: Shape, wanted: Shape, where: str, others: str) -> None:
    """DataError where the image at `where` does not have the size of `others`, with which it makes a batch."""
    if found != wanted:
        raise DataError(
            f"{where}: the image is {found} (height, width, channels), {others} {wanted}; "
            "set crop_size, or resize the images to one size"
        )


class Assembler:
    """Makes (images, labels) of a batch: float32 (batch, height, width, channels) and float32 (batch,).

    count: images in the set, None if unknown. first: (height, width, channels) of its first image, named `where` in
    messages. A set of uint8 images that are all of that shape and fit in `cache_bytes` is kept, so that later passes
    decode nothing.
    """

    def __init__(
        self,
        transform: Transform,
        count: int | None,
        first: Shape,
        where: str,
        cache_bytes: int = CACHE_BYTES,
        workers: int | None = None,
    ) -> None:
        self.transform = transform
        self._workers = workers or len(os.sched_getaffinity(0))
        self._pool: ThreadPoolExecutor | None = None
        self._empty = Arrays()
        self._output = transform.output_shape(first, where)
        fits = count and count * int(np.prod(first)) <= cache_bytes
        self._cache: _Cache | None = _Cache(count, first) if count and fits else None

    def remembered(self, numbers: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray] | None:
        """The batch of these images (numbers count on through all passes), if all are in memory."""
        if self._cache is None or not self._cache.has(numbers):
            return None
        pixels, which, labels = self._cache.get(numbers)
        return self._stack(pixels, draws, which), labels

    def stacked(
        self, numbers: Numbers, planes: np.ndarray, labels: np.ndarray, draws: Draws, where: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The batch of uint8 images (batch, channels, height, width) that are of one size already."""
        stored = Stored.of(planes.transpose(0, 2, 3, 1))
        if stored is not None:
            return self.stored(numbers, stored, labels, draws, where)
        pixels = interleaved(planes)
        self.transform.output_shape(pixels.shape[1:], where)
        self._remember(numbers, pixels, labels)
        return self._stack(pixels, draws), labels

    def stored(
        self, numbers: Numbers, images: Stored, labels: np.ndarray, draws: Draws, where: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The batch of images that are of one size where they lie in memory, as compiled loops read them."""
        self.transform.output_shape(images.shape, where)
        if self._cache is not None and not self._cache.put_stored(np.asarray(numbers), images, labels):
            self._cache = None
        return self._stack(images, draws), labels

    def _stack(self, pixels: np.ndarray | Stored, draws: Draws, which: np.ndarray | None = None) -> np.ndarray:
        """The transformed batch of all `pixels`, or of numbers `which`; a large one in blocks, by several threads."""
        shape = self.transform.output_shape(pixels.shape[-3:], "")
        count = len(pixels) if which is None else len(which)
        target = self._empty((count, *shape))
        block = max(1, LARGE // (4 * math.prod(shape)))
        if block >= count:
            self.transform.stack(pixels, draws, target, which)
            return target

        def transform(number: int) -> None:
            part = slice(number * block, (number + 1) * block)
            if which is None:
                self.transform.stack(pixels[part], draws[part], target[part], large=True)
            else:
                self.transform.stack(pixels, draws[part], target[part], which[part], large=True)

        self._in_threads(transform, -(-count // block))
        return target

    def each(self, items: Sequence[Item], draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        """The batch of images that are decoded and transformed one by one; the results must be of one size."""
        images: list[np.ndarray | None] = [None] * len(items)
        shape, others = self._output, "the first of all"
        if not self.transform.crop or len(items) == 1:  # Caffe reshapes for the first image of every batch
            first, others = items[0].decode(), "the first of its batch"
            images[0], shape = first, self.transform.output_shape(first.shape, items[0].where)
        target = self._empty((len(items), *shape))
        large = target.nbytes > LARGE

        def place(index: int) -> None:
            decoded = images[index]
            image = items[index].decode() if decoded is None else decoded
            found = self.transform.output_shape(image.shape, items[index].where)
            check_size(found, shape, items[index].where, others)
            self.transform.place(image, draws, index, target[index], large)
            images[index] = None if self._cache is None else image

        self._in_threads(place, len(items))
        labels = np.array([item.label for item in items], np.float32)
        if self._cache is not None:
            kept = [image for image in images if image is not None]
            self._remember([item.number for item in items], kept, labels)
        return target, labels

    def _in_threads(self, work: Callable[[int], None], count: int) -> None:
        """Call `work` with 0 to count - 1; each thread takes the next number when it is free."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, "decode")
        numbers = iter(range(count))

        def keep_working(_: int) -> None:
            for number in numbers:
                work(number)

        list(self._pool.map(keep_working, range(min(self._workers, count))))

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _remember(
        self, numbers: Sequence[int] | np.ndarray, images: np.ndarray | list[np.ndarray], labels: np.ndarray
    ) -> None:
        if self._cache is not None and not self._cache.put(numbers, images, labels):
            self._cache = None  # a set of several sizes or of floats is not kept


class Arrays:
    """Float32 arrays, used again once nobody else holds them: fresh memory costs as much as filling it."""

    def __init__(self, most: int = 16) -> None:
        self._given: list[np.ndarray] = []
        self._most = most

    def __call__(self, shape: Shape) -> np.ndarray:
        for array in self._given:
            if sys.getrefcount(array) == _UNUSED and array.shape == shape:
                return array
        array = np.empty(shape, np.float32)
        self._given = [*self._given[-self._most + 1 :], array]
        return array


class _Cache:
    """The uint8 images and the labels of a whole set, filled as they come by."""

    def __init__(self, count: int, shape: Shape) -> None:
        self._pixels = np.empty((count, *shape), np.uint8)
        self._labels = np.empty(count, np.float32)
        self._known = np.zeros(count, bool)
        self._is_whole = False

    def has(self, numbers: np.ndarray) -> bool:
        self._is_whole = self._is_whole or bool(self._known.all())
        return self._is_whole or bool(self._known[numbers % len(self._known)].all())

    def get(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All images, which of them these are, and their labels."""
        numbers = numbers % len(self._known)
        return self._pixels, numbers, self._labels[numbers]

    def put_stored(self, numbers: np.ndarray, images: Stored, labels: np.ndarray) -> bool:
        """Keep planar `images`; False if they are not like the others."""
        if images.shape != self._pixels.shape[1:]:
            return False
        images.copy_to(self._pixels, numbers)
        self._labels[numbers] = labels
        self._known[numbers] = True
        return True

    def put(
        self, numbers: Sequence[int] | np.ndarray, images: np.ndarray | list[np.ndarray], labels: np.ndarray
    ) -> bool:
        """Keep `images`; False if they are not like the others, so that the set cannot be kept."""
        for image in images if isinstance(images, list) else images[:1]:
            if image.shape != self._pixels.shape[1:] or image.dtype != np.uint8:
                return False
        self._pixels[numbers] = images
        self._labels[numbers] = labels
        self._known[numbers] = True
        return True
