"""Windows of many images at once, a row of pixels as one element: numpy moves it many times faster than pixels."""

from __future__ import annotations

import math
import threading

import numpy as np

from caffe_compat.data.images import mirrored

Shape = tuple[int, ...]
TABLE_BYTES = 1 << 20  # of a mean image's windows, all of them, each both ways: as much as a processor's cache holds


class Rows:
    """The windows of `size` of images `which` (count, height, width, channels), from `corners` (windows, 2) on."""

    def __init__(self, images: np.ndarray, which: np.ndarray, corners: np.ndarray, size: Shape) -> None:
        images = np.ascontiguousarray(images)
        height, width, channels = images.shape[1:]
        pixel = channels * images.itemsize
        row = size[1] * pixel
        self._kind, self._shape = images.dtype, (*size, channels)
        self._rows = np.ndarray((images.nbytes - row + 1,), f"V{row}", images, 0, (1,))  # one that begins at every byte
        begins = (which * height + corners[:, 0]) * (width * pixel) + corners[:, 1] * pixel
        self._starts = begins[:, None] + np.arange(size[0]) * (width * pixel)

    def __getitem__(self, part: slice) -> np.ndarray:
        """A new array of the windows of a part; by indexing, for numpy's take copies a view that overlaps."""
        windows: np.ndarray = self._rows[self._starts[part]].view(self._kind).reshape(-1, *self._shape)
        return windows


def flipped(windows: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """`windows`, changed: left and right exchanged where `flips` says so."""
    turned = np.flatnonzero(flips)
    if len(turned):
        windows[turned] = mirrored(windows[turned])
    return windows


class MeanWindows:
    """What is subtracted from windows of images that have a mean image: its own windows, flipped alike."""

    def __init__(self, mean: np.ndarray, size: Shape) -> None:
        self._both_ways = np.stack([mean, mean[:, ::-1]])
        self._size = size
        self._rooms = (mean.shape[0] - size[0], mean.shape[1] - size[1])
        places = (self._rooms[0] + 1) * (self._rooms[1] + 1)
        window = size[0] * size[1] * mean.shape[2]
        self._table = self._every(places) if 2 * places * window * mean.itemsize <= TABLE_BYTES else None

    def _every(self, places: int) -> np.ndarray:
        """All windows, (2 * places, values): as they are at every row and column, then flipped."""
        rows, columns = np.divmod(np.arange(places), self._rooms[1] + 1)
        corners = np.tile(np.stack([rows, columns], 1), (2, 1))
        table = Rows(self._both_ways, np.repeat([0, 1], places), corners, self._size)[:]
        return table.reshape(2 * places, -1)

    def at(self, corners: np.ndarray, flips: np.ndarray) -> Rows | TableRows:
        """What is subtracted from windows at `corners`, flipped where `flips` says so."""
        left = np.where(flips, self._rooms[1] - corners[:, 1], corners[:, 1])
        if self._table is None:
            return Rows(self._both_ways, flips.astype(np.intp), np.stack([corners[:, 0], left], 1), self._size)
        places = (flips * (self._rooms[0] + 1) + corners[:, 0]) * (self._rooms[1] + 1) + left
        return TableRows(self._table, places, self._size)


class TableRows:
    """Windows from a table of all; the memory of one part is used again for the next."""

    def __init__(self, table: np.ndarray, places: np.ndarray, size: Shape) -> None:
        self._table, self._places, self._size = table, places, size

    def __getitem__(self, part: slice) -> np.ndarray:
        places = self._places[part]
        space = scratch("mean", (len(places), self._table.shape[1]))
        return np.take(self._table, places, 0, space, "clip").reshape(len(places), *self._size, -1)


_kept = threading.local()


def scratch(use: str, shape: Shape) -> np.ndarray:
    """Float32 memory of this thread for `use`, the same again and again: fresh memory costs more than filling it."""
    size = math.prod(shape)
    found: np.ndarray | None = getattr(_kept, use, None)
    if found is None or len(found) < size:
        found = np.empty(size, np.float32)
        setattr(_kept, use, found)
    return found[:size].reshape(shape)
