"""Windows of many images at once: numpy moves a row of pixels at a time, many times faster than pixels."""

from __future__ import annotations

import numpy as np

from caffe_compat.data.images import mirrored

Shape = tuple[int, ...]
TABLE_BYTES = 1 << 20  # of a mean image's windows, all of them, each both ways: as much as a processor's cache holds


class Windows:
    """The windows of `size` of images `which` (count, height, width, channels), from `corners` (windows, 2) on."""

    def __init__(self, images: np.ndarray, which: np.ndarray, corners: np.ndarray, size: Shape) -> None:
        images = np.ascontiguousarray(images)
        count, height, width, channels = images.shape
        image, row, pixel, value = images.strides
        every = (count, height - size[0] + 1, width - size[1] + 1, size[0], size[1] * channels)
        self._every = np.ndarray(every, images.dtype, images, 0, (image, row, pixel, row, value))
        self._places = which, corners[:, 0], corners[:, 1]
        self._shape = (*size, channels)

    def __getitem__(self, part: slice) -> np.ndarray:
        """A new array of the windows of a part."""
        windows: np.ndarray = self._every[tuple(places[part] for places in self._places)].reshape(-1, *self._shape)
        return windows

    def write(self, part: slice, target: np.ndarray) -> None:
        """Copy the windows of a part into `target`."""
        np.copyto(target, self[part])


def flipped(windows: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """`windows`, changed: left and right exchanged where `flips` says so."""
    turned = np.flatnonzero(flips)
    if len(turned):
        windows[turned] = mirrored(windows[turned])
    return windows


class MeanWindows:
    """What goes with windows of images that have a mean image: its own windows, flipped alike."""

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
        table = Windows(self._both_ways, np.repeat([0, 1], places), corners, self._size)[:]
        return table.reshape(2 * places, -1)

    def at(self, corners: np.ndarray, flips: np.ndarray) -> Windows | TableWindows:
        """What goes with windows at `corners`, flipped where `flips` says so."""
        left = np.where(flips, self._rooms[1] - corners[:, 1], corners[:, 1])
        if self._table is None:
            return Windows(self._both_ways, flips.astype(np.intp), np.stack([corners[:, 0], left], 1), self._size)
        places = (flips * (self._rooms[0] + 1) + corners[:, 0]) * (self._rooms[1] + 1) + left
        return TableWindows(self._table, places)


class TableWindows:
    """Windows from a table of all."""

    def __init__(self, table: np.ndarray, places: np.ndarray) -> None:
        self._table, self._places = table, places

    def write(self, part: slice, target: np.ndarray) -> None:
        """Copy the windows of a part into `target`, which is contiguous."""
        np.take(self._table, self._places[part], 0, target.reshape(-1, self._table.shape[1]), "clip")
