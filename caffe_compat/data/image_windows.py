"""Windows of images -> batches, as R-CNN's WindowData reads them (window_data_layer.cpp)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.data.assembly import LARGE, Arrays
from caffe_compat.data.images import mirrored, read_image, resize_image
from caffe_compat.data.labels import StoredLabels
from caffe_compat.data.one_pass import OnePass, Stored
from caffe_compat.data.order import generator
from caffe_compat.data.transform import Transform
from caffe_compat.errors import DataError
from caffe_compat.proto.reading import read_lines

Shape = tuple[int, ...]
_CACHED_IMAGES = 1 << 16


@dataclass(frozen=True)
class Window:
    """A box of an image, both corners included, and its class; `overlap` is a float32's value, as Caffe compares it."""

    image: str
    label: int
    overlap: float
    box: tuple[int, int, int, int]  # x1, y1, x2, y2


@dataclass(frozen=True)
class Sampling:
    """Which windows a batch has, and how they are cut: WindowDataParameter's fields."""

    batch_size: int
    fg_threshold: float = 0.5
    bg_threshold: float = 0.5
    fg_fraction: float = 0.25
    context_pad: int = 0
    square: bool = False

    @property
    def foreground(self) -> int:
        """How many windows of a batch are foreground, rounded down after a product in float32, as in Caffe."""
        return int(np.float32(self.batch_size) * np.float32(self.fg_fraction))


def read_window_file(path: Path) -> list[Window]:
    """All windows of a window file: `# index`, image, channels, height, width, number, then a line a window."""
    words = iter(" ".join(read_lines(path)).split())
    windows = []
    for mark in words:
        try:
            if mark != "#":
                raise ValueError(f"'{mark}' where '# image_index' should stand")
            next(words)
            image = next(words)
            for _ in range(3):
                next(words)
            windows += _windows(image, words)
        except (ValueError, StopIteration) as error:
            raise DataError(f"{path}: after {len(windows)} windows: {str(error) or 'the file ends early'}") from error
    if not windows:
        raise DataError(f"{path}: names no windows")
    return windows


def _windows(image: str, words: Iterator[str]) -> list[Window]:
    windows = []
    for _ in range(int(next(words))):
        label, overlap = int(next(words)), float(np.float32(next(words)))
        x1, y1, x2, y2 = [int(next(words)) for _ in range(4)]
        windows.append(Window(image, label, overlap, (x1, y1, x2, y2)))
    return windows


class WindowBatches:
    """Batches (images, labels): windows drawn anew each time, background ones first, each warped to crop_size.

    A window whose overlap reaches fg_threshold is foreground; one below bg_threshold is background, with label 0.
    What lies outside the image, where context_pad or a square reaches past it, is 0 after the transform.
    """

    def __init__(
        self,
        windows: list[Window],
        root: str,
        sampling: Sampling,
        transform: Transform,
        seed: int = 0,
        cache_images: bool = False,
        workers: int = 1,
    ) -> None:
        self.sampling, self.transform, self.seed = sampling, transform, seed
        self._foreground = [window for window in windows if window.overlap >= sampling.fg_threshold]
        self._background = [
            window
            for window in windows
            if window.overlap < sampling.fg_threshold and window.overlap < sampling.bg_threshold
        ]
        self._load = lru_cache(_CACHED_IMAGES if cache_images else 8)(lambda name: read_image(Path(root + name)))
        self._pool = ThreadPoolExecutor(workers, "decode")
        self._empty = Arrays()
        self._check(transform)
        self._pass = OnePass(transform.crop, 3, self._mean(0, 0, transform.crop, transform.crop), transform.scale)

    def labels(self) -> StoredLabels:
        """The labels of all windows of the foreground, those of the background being 0."""
        labels = np.array([window.label for window in self._foreground], np.float32)
        return StoredLabels({1: labels}, len(labels), len(labels))

    @property
    def _large(self) -> bool:
        return 4 * 3 * self.transform.crop**2 * self.sampling.batch_size > LARGE

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of images and labels."""
        batch, crop = self.sampling.batch_size, self.transform.crop
        return [(batch, 3, crop, crop), (batch,)]

    def read(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch `index`, counted from 0."""
        chance = generator(self.seed, index)
        foreground = self.sampling.foreground
        drawn = [
            windows[place]
            for windows, count in (
                (self._background, self.sampling.batch_size - foreground),
                (self._foreground, foreground),
            )
            for place in (chance.integers(len(windows), size=count) if count else ())
        ]
        flips = chance.integers(0, 2, len(drawn), bool) if self.transform.mirror else np.zeros(len(drawn), bool)
        crop = self.transform.crop
        target = self._empty((len(drawn), crop, crop, 3))
        list(self._pool.map(self._place, drawn, flips, target))
        reached = self.sampling.fg_threshold
        labels = np.array([window.label if window.overlap >= reached else 0 for window in drawn], np.float32)
        return target.transpose(0, 3, 1, 2), labels

    def close(self) -> None:
        """Stop the decoding threads and let go of images."""
        self._pool.shutdown(cancel_futures=True)
        self._load.cache_clear()

    def _place(self, window: Window, flip: bool, target: np.ndarray) -> None:
        image = self._load(window.image)
        (x1, y1, x2, y2), (left, top), (width, height) = self._cut(window, image.shape, flip)
        if not (0 <= x1 <= x2 < image.shape[1] and 0 <= y1 <= y2 < image.shape[0]):
            raise DataError(f"{window.image}: window {window.box} does not lie in the image, {image.shape[:2]}")
        pixels = resize_image(image[y1 : y2 + 1, x1 : x2 + 1], height, width)
        if flip:
            pixels = mirrored(pixels)
        stored = Stored.of(pixels[None], values=pixels.size) if target.shape == pixels.shape else None
        if stored is not None:
            self._pass.write_one(stored, (0, 0), False, target, self._large)
            return
        if target.shape != pixels.shape:
            target[:] = 0
        mean = self._mean(top, left, height, width)
        values = pixels.astype(np.float32) if mean is None else pixels - mean
        target[top : top + height, left : left + width] = values * np.float32(self.transform.scale)

    def _mean(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
        """What is subtracted from this part of the crop: a mean image's middle goes with it, as it is."""
        mean = self.transform.mean
        if mean is None or mean.ndim == 1:
            return mean
        offset = (mean.shape[1] - self.transform.crop) // 2
        return mean[top + offset : top + offset + height, left + offset : left + offset + width]

    def _cut(
        self, window: Window, image: Shape, flip: bool
    ) -> tuple[tuple[int, int, int, int], tuple[int, int], tuple[int, int]]:
        """The box within the image, and the (left, top) place and (width, height) that it takes in the crop."""
        crop, pad = self.transform.crop, self.sampling.context_pad
        if not pad and not self.sampling.square:
            return window.box, (0, 0), (crop, crop)
        x1, y1, x2, y2 = window.box
        half = [np.float32(x2 - x1 + 1) / 2, np.float32(y2 - y1 + 1) / 2]  # float32 as in Caffe, for what is rounded
        centre = (x1 + half[0], y1 + half[1])
        if self.sampling.square:
            half = [max(half)] * 2
        spans = []
        for axis, size in ((0, image[1]), (1, image[0])):
            reach = half[axis] * (np.float32(crop) / np.float32(crop - 2 * pad))
            low, high = _round(centre[axis] - reach), _round(centre[axis] + reach)
            scale = np.float32(crop) / np.float32(high - low + 1)
            before, after = max(0, -low), max(0, high - size + 1)
            low, high = low + before, high - after
            start = _round((after if flip and axis == 0 else before) * scale)
            spans.append((low, high, start, min(_round((high - low + 1) * scale), crop - start)))
        (x1, x2, left, width), (y1, y2, top, height) = spans
        return (x1, y1, x2, y2), (left, top), (width, height)

    def _check(self, transform: Transform) -> None:
        wanted = self.sampling.foreground
        for kind, windows, count in (
            ("foreground", self._foreground, wanted),
            ("background", self._background, self.sampling.batch_size - wanted),
        ):
            if count and not windows:
                raise DataError(f"layer '{transform.layer}': no {kind} windows; change fg_threshold or bg_threshold")
        if transform.crop <= 2 * self.sampling.context_pad:
            raise DataError(
                f"layer '{transform.layer}': crop_size {transform.crop} must be above 0 and twice context_pad "
                f"{self.sampling.context_pad}"
            )
        mean = transform.mean
        cut = self._mean(0, 0, transform.crop, transform.crop)
        if mean is None or cut is None or cut.shape in ((1,), (3,), (transform.crop, transform.crop, 3)):
            return
        found = f"the mean image is {mean.shape}" if mean.ndim == 3 else f"{len(mean)} mean_values"
        raise DataError(
            f"layer '{transform.layer}': {found}; windows need a mean of 3 channels, and an image of it of crop_size "
            f"{transform.crop} or more"
        )


def _round(value: float | np.floating[Any]) -> int:
    """To the nearest whole number, halves away from zero, as C's round."""
    return math.floor(abs(float(value)) + 0.5) * (1 if value >= 0 else -1)
