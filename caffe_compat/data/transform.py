"""transform_param: stored pixels -> what the net sees (data_transformer.cpp).

    value = (pixel - mean) * scale, then a crop, then perhaps a flip of left and right

Images are (height, width, channels) here, channels in the order stored (BGR for images that OpenCV decoded), so that a
batch seen as (batch, channels, height, width) lies in memory as PyTorch's channels_last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.data.cuts import MeanWindows, Windows, flipped
from caffe_compat.data.images import add_pixels, mirrored, subtract_from_channels
from caffe_compat.data.one_pass import OnePass, Stored
from caffe_compat.data.order import generator
from caffe_compat.errors import DataError
from caffe_compat.proto.binary import read_blob
from caffe_compat.proto.files import find_file

Shape = tuple[int, ...]
_STRIP = 1 << 17  # values of a transformed batch that go through the arithmetic before the next: a cache holds them
_AT_ONCE = 2  # strips that are cut and flipped at once
_LEAST = 1 << 15  # values of one image that a compiled loop takes less time for than numpy
_LEAST_AS_THEY_ARE = 1 << 17  # and of a batch whose windows are all the same
_KEPT = 64  # widths of images that means are kept for


@dataclass(frozen=True)
class Draws:
    """What chance decides for a batch: (batch,) flips, and (batch, 2) places of the crop between 0 and 1."""

    flips: np.ndarray
    places: np.ndarray

    def __getitem__(self, images: slice) -> Draws:
        """What is decided for a part of the batch."""
        return Draws(self.flips[images], self.places[images])


@dataclass(frozen=True)
class Transform:
    """One layer's transform_param, read once.

    mean: None, float32 (channels,) or (1,), or float32 (height, width, channels) of the whole image before the crop.
    train: in TRAIN the crop lies anywhere, in TEST in the middle; `mirror` flips half of the images in both.
    color: None decodes an encoded image as it is, True to three channels, False to one.
    """

    layer: str
    train: bool
    scale: float = 1.0
    mean: np.ndarray | None = None
    crop: int = 0
    mirror: bool = False
    color: bool | None = None

    @property
    def random(self) -> bool:
        """Whether two passes over the same images may differ."""
        return self.mirror or (self.train and self.crop > 0)

    def draw(self, count: int, *position: int) -> Draws:
        """The draws for `count` images, the same for the same `position` (seed, batch number)."""
        if not self.random:
            return Draws(np.zeros(count, bool), np.full((count, 2), 0.5))
        chance = generator(*position)
        flips = chance.integers(0, 2, count, bool) if self.mirror else np.zeros(count, bool)
        return Draws(flips, chance.random((count, 2)) if self.train else np.full((count, 2), 0.5))

    def output_shape(self, image: Shape, where: str) -> Shape:
        """(height, width, channels) that comes of an image of shape `image`; DataError where it does not fit."""
        height, width, channels = image
        if self.crop > min(height, width):
            raise DataError(f"{where}: crop_size {self.crop} is larger than the image, {height}x{width}")
        if self.mean is not None and self.mean.ndim == 3 and self.mean.shape != image:
            mean = "x".join(map(str, self.mean.shape))
            raise DataError(
                f"{where}: the mean image is {mean}, the image {height}x{width}x{channels} (height, width, channels); "
                "make the mean from images of this size"
            )
        if self.mean is not None and self.mean.ndim == 1 and len(self.mean) not in (1, channels):
            raise DataError(f"{where}: {len(self.mean)} mean_values for {channels} channels; give 1 or {channels}")
        return (self.crop, self.crop, channels) if self.crop else image

    def place(self, image: np.ndarray, draws: Draws, index: int, target: np.ndarray, large: bool = False) -> None:
        """Write `image` (height, width, channels), transformed, into `target`, the float32 place of one image.

        large: whether the batch is more than the processor's caches hold.
        """
        worth = target.size >= _LEAST and (large or self.mean is not None) and target.flags.c_contiguous
        stored = Stored.of(image[None], values=image.size) if worth else None
        if stored is not None:
            corner = self.corner(image.shape, draws.places[index])
            self._pass(target).write_one(stored, corner, bool(draws.flips[index]), target, large)
            return
        top, left = self.corner(image.shape, draws.places[index])
        window = (slice(top, top + target.shape[0]), slice(left, left + target.shape[1]))
        pixels, mean, flips = image[window], self.mean, draws.flips[index]
        if flips:
            pixels = mirrored(pixels)
        if mean is None:
            np.copyto(target, pixels)
        elif mean.ndim == 1:
            if not subtract_from_channels(pixels, mean, target):
                self._add_to_channels(pixels, target)
        else:
            np.negative(mirrored(mean[window]) if flips else mean[window], out=target)
            add_pixels(pixels, target)
        self._rescale(target)

    def stack(
        self,
        images: np.ndarray | Stored,
        draws: Draws,
        target: np.ndarray,
        which: np.ndarray | None = None,
        large: bool = False,
    ) -> None:
        """Write images of one size, (count, height, width, channels), transformed at once, into float32 `target`.

        which: the numbers of those that are wanted; by default all. large: as for `place`. Where no compiled loop does
        it, the arithmetic goes through strips of the batch that stay in the processor's cache.
        """
        stored = images if isinstance(images, Stored) else None
        if not isinstance(images, Stored) and (large or self.random or target.size >= _LEAST_AS_THEY_ARE):
            stored = Stored.of(images, which, target.size)
        if stored is not None:
            corners = self.corners(stored.shape, draws)
            self._pass(target).write(stored, corners, draws.flips, target, large)
            return
        assert isinstance(images, np.ndarray)
        if which is not None and len(which) == which[-1] - which[0] + 1 and (np.diff(which) == 1).all():
            images, which = images[which[0] : which[-1] + 1], None
        size, flips = target.shape[1:3], draws.flips
        if not self.random:
            top, left = self.corner(images.shape[1:], (0.5, 0.5))
            window = (slice(top, top + size[0]), slice(left, left + size[1]))
            cut = (images if which is None else images[which])[(slice(None), *window)]
            self._subtract(cut, window, target)
            return
        corners = self.corners(images.shape[1:], draws)
        pixels = Windows(images, np.arange(len(images)) if which is None else which, corners, size)
        whole_mean = self.mean is not None and self.mean.ndim == 3
        means = self._mean_windows(size).at(corners, flips) if whole_mean else None
        strip = max(1, _STRIP // math.prod(target.shape[1:]))
        for first in range(0, len(target), _AT_ONCE * strip):
            taken = slice(first, first + _AT_ONCE * strip)
            cut = flipped(pixels[taken], flips[taken])
            for start in range(0, len(cut), strip):
                part = slice(first + start, min(first + start + strip, first + len(cut)))
                values = cut[start : start + strip]
                if means is None:
                    self._subtract(values, (), target[part])
                else:
                    means.write(part, target[part])
                    add_pixels(values, target[part])
                    self._rescale(target[part])

    def _pass(self, target: np.ndarray) -> OnePass:
        """What a compiled loop makes windows with whose rows are as those of `target`, which is contiguous."""
        columns, channels = target.shape[-2:]
        made = self._passes.get((columns, channels))
        if made is None:
            if len(self._passes) >= _KEPT:
                self._passes.clear()
            made = self._passes[columns, channels] = OnePass(columns, channels, self.mean, self.scale)
        return made

    def corner(self, image: Shape, place: Sequence[float] | np.ndarray) -> tuple[int, int]:
        """The first row and column of the crop; the centre is (size - crop) / 2 rounded down, as in Caffe."""
        if not self.crop:
            return 0, 0
        room = (image[0] - self.crop, image[1] - self.crop)
        if not self.train:
            return room[0] // 2, room[1] // 2
        return int(place[0] * (room[0] + 1)), int(place[1] * (room[1] + 1))

    def _subtract(self, pixels: np.ndarray, window: tuple[slice, ...], target: np.ndarray) -> None:
        """target = (pixels - mean) * scale of images; window: which part of the mean image is theirs."""
        if self.mean is None:
            np.copyto(target, pixels)
        elif self.mean.ndim == 1:
            self._add_to_channels(pixels, target)
        else:
            negative = self._negative(window[0].start, window[1].start, target.shape[1:3])
            np.copyto(target.reshape(len(target), -1), negative)
            add_pixels(pixels, target)
        self._rescale(target)

    def _negative(self, top: int, left: int, size: Shape) -> np.ndarray:
        """The window of the mean image that begins there, with a minus, as one row."""
        place = (top, left, *size)
        if place not in self._negatives:
            assert self.mean is not None
            self._negatives[place] = -self.mean[top : top + size[0], left : left + size[1]].reshape(-1)
        return self._negatives[place]

    def _add_to_channels(self, pixels: np.ndarray, target: np.ndarray) -> None:
        """target = pixels - mean of the channels: the mean first, for pixels are added far faster than cast."""
        assert self.mean is not None
        if target.flags.c_contiguous:  # far faster than a row of three channels
            rows = target.reshape(*target.shape[:-2], -1)
            np.copyto(rows, _negative_row(self.mean.tobytes(), rows.shape[-1]))
        else:
            np.negative(np.broadcast_to(self.mean, target.shape), out=target)
        add_pixels(pixels, target)

    def _rescale(self, target: np.ndarray) -> None:
        if self.scale != 1:
            np.multiply(target, np.float32(self.scale), out=target)

    def corners(self, image: Shape, draws: Draws) -> np.ndarray:
        """`corner` of many images of one shape: (batch, 2) rows and columns."""
        if not self.crop:
            return np.zeros((len(draws.places), 2), np.intp)
        rooms = np.array(image[:2]) - self.crop
        if self.train:
            corners: np.ndarray = (draws.places * (rooms + 1)).astype(np.intp)
            return corners
        return np.broadcast_to(rooms // 2, draws.places.shape)

    def _mean_windows(self, size: Shape) -> MeanWindows:
        if size not in self._windows:
            assert self.mean is not None
            self._windows[size] = MeanWindows(-self.mean, size)
        return self._windows[size]

    @cached_property
    def _negatives(self) -> dict[tuple[int, ...], np.ndarray]:
        """Those of the mean image with a minus, as one row, by first row, first column and size."""
        return {}

    @cached_property
    def _passes(self) -> dict[tuple[int, int], OnePass]:
        """Those that compiled loops make, by the columns and channels of a window."""
        return {}

    @cached_property
    def _windows(self) -> dict[Shape, MeanWindows]:
        """Those of the mean image, negative, by the size of a window."""
        return {}


@lru_cache(maxsize=64)
def _negative_row(mean: bytes, length: int) -> np.ndarray:
    """The float32 mean values of the channels with a minus, over and over, for a row of pixels."""
    return np.resize(-np.frombuffer(mean, np.float32), length)


def read_transform(param: Any, layer: str, phase: str, folder: Path | None = None) -> Transform:
    """The Transform of a TransformationParameter; DataError where fields exclude each other, or a file is missing."""
    if param.mean_file and param.mean_value:
        raise DataError(f"layer '{layer}': transform_param has both mean_file and mean_value; keep one")
    if param.force_color and param.force_gray:
        raise DataError(f"layer '{layer}': transform_param has both force_color and force_gray; keep one")
    mean: np.ndarray | None = None
    if param.mean_file:
        mean = read_mean(find_file(param.mean_file, folder, named_by=f"layer '{layer}'"))
    elif param.mean_value:
        mean = np.asarray(param.mean_value, np.float32)
    color = True if param.force_color else (False if param.force_gray else None)
    return Transform(layer, phase == "TRAIN", param.scale, mean, param.crop_size, param.mirror, color)


def read_mean(path: Path) -> np.ndarray:
    """The mean image of a .binaryproto: float32 (height, width, channels)."""
    blob = read_blob(path)
    if blob.ndim < 3 or blob.shape[:-3] not in ((), (1,)):
        raise DataError(f"{path}: holds shape {blob.shape}; a mean image is (1, channels, height, width)")
    return np.ascontiguousarray(blob.reshape(blob.shape[-3:]).transpose(1, 2, 0), np.float32)
