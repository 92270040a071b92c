"""uint8 images where they lie in memory -> a transformed batch, in one pass of a compiled loop where Numba is there."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from caffe_compat.kernels import loops

Shape = tuple[int, ...]
_WORTH = 1 << 28  # values made without loops in about the time that loading Numba takes
_without = [0]  # values made so far


def compiled(name: str, values: int = 0) -> ModuleType | None:
    """The loops `name`, for so many values; None where there are none, or Numba is not loaded and would not pay yet."""
    _without[0] += values
    return loops(name) if "numba" in sys.modules or _without[0] > _WORTH else None


@dataclass(frozen=True)
class Stored:
    """uint8 images of one shape, for loops to read.

    addresses: int64 (images,), of the first value of each. shape: (height, width, channels). planar: whether the
    channels lie one after the other, as in a Datum, rather than together. holder: what keeps the memory.
    """

    addresses: np.ndarray
    shape: Shape
    planar: bool
    loops: ModuleType
    holder: Any

    @classmethod
    def of(cls, images: np.ndarray, which: np.ndarray | None = None, values: int = 0) -> Stored | None:
        """Those of an array (images, height, width, channels), all or `which`, to make so many values of them.

        None where there is no loop, or none that can read them.
        """
        if images.dtype != np.uint8 or not images.size:
            return None
        _, height, width, channels = images.shape
        planar = images.strides[1:] == (width, 1, height * width)
        if not planar and images.strides[1:] != (width * channels, channels, 1):
            return None
        made = compiled("pixels", values)
        if made is None or width * channels > made.ROW:
            return None
        first, apart = images.ctypes.data, images.strides[0]
        if which is None and len(images) == 1:
            addresses = np.array([first])
        else:
            addresses = first + apart * (np.arange(len(images)) if which is None else which)
        return cls(addresses, images.shape[1:], planar, made, images)

    def __len__(self) -> int:
        return len(self.addresses)

    def __getitem__(self, part: slice) -> Stored:
        return Stored(self.addresses[part], self.shape, self.planar, self.loops, self.holder)

    def copy_to(self, images: np.ndarray, which: np.ndarray) -> None:
        """Write these, which are planar, pixel after pixel into images[which]: uint8 (any, height, width, channels)."""
        assert self.planar and images.shape[1:] == self.shape and images.flags.c_contiguous
        numbers = np.ascontiguousarray(which, np.int64)
        self.loops.interleave(images.size, images, numbers, len(numbers), self.addresses, *self.shape, threads=1)


class OnePass:
    """(pixel - mean) * scale of windows whose rows have so many columns and channels.

    mean: None, (1,) or (channels,), or the whole image's (height, width, channels).
    """

    def __init__(self, columns: int, channels: int, mean: np.ndarray | None, scale: float) -> None:
        self._scale = float(np.float32(scale))
        if mean is not None and mean.ndim == 3:
            self._mean = np.stack([mean, mean[:, ::-1]]).astype(np.float32, copy=False)
            self._steps = (mean[0].size, mean.size, mean.shape[1])
        else:
            row = np.zeros(1, np.float32) if mean is None else mean.astype(np.float32, copy=False)
            self._mean, self._steps = np.resize(row, columns * channels), (0, 0, 0)
        self._address = self._mean.ctypes.data

    def write(
        self, images: Stored, corners: np.ndarray, flips: np.ndarray, target: np.ndarray, large: bool = False
    ) -> None:
        """Into `target`, float32 (images, rows, columns, channels), contiguous, the windows that begin at `corners`.

        large: whether `target` belongs to more than the processor's caches hold, so that nothing need stay in them.
        """
        plan = np.empty((len(images), 4), np.int64)
        plan[:, 0], plan[:, 1:3], plan[:, 3] = images.addresses, corners, flips
        self._run(images, plan, target, large)

    def write_one(self, image: Stored, corner: tuple[int, int], flip: bool, target: np.ndarray, large: bool) -> None:
        """`write` of one image; `target` is of its window alone."""
        self._run(image, array("q", (int(image.addresses[0]), *corner, flip)), target[None], large)

    def _run(self, images: Stored, plan: np.ndarray | array[int], target: np.ndarray, large: bool) -> None:
        where = (*target.shape, plan, int(images.planar), *images.shape[:2])
        mean = (self._address, *self._steps)
        images.loops.transform(target.size, target, *where, *mean, self._scale, int(large), threads=1)
