"""Decoded images -> what a classifier's net sees, as pycaffe prepares them (python/caffe/io.py, classifier.py).

    value = (pixel - mean) * scale, pixels from 0 to 255, after the resize, the crop and the exchange of channels

pycaffe loads pixels from 0 to 1 and has a raw_scale, 255 in every example; here pixels are from 0 to 255 already.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_compat.data.images import resize_image
from caffe_compat.data.transform import read_mean
from caffe_compat.errors import DataError
from caffe_compat.proto.arrays import read_npy
from caffe_compat.proto.reading import decoded, read_bytes, slashes_hint

IMAGE_SUFFIXES = (".bmp", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Preprocessing:
    """What happens to the pixels of an image before a net sees them.

    size: None resizes to what the net takes, as pycaffe does by itself; one number makes it the shorter side and
    keeps the aspect; (height, width) stretches, as pycaffe's image_dims. mean: float32 (channels,) or (1,), or an
    image (channels, height, width), resized to what the net takes; channels in the order that the net sees. rgb:
    exchange the BGR of OpenCV for RGB. oversample: ten crops, of the corners, the centre, and their mirror images,
    instead of the one at the centre.
    """

    size: int | tuple[int, int] | None = None
    mean: np.ndarray | None = None
    scale: float = 1.0
    rgb: bool = False
    oversample: bool = False

    def crops(self, image: np.ndarray, height: int, width: int, where: str) -> np.ndarray:
        """float32 (1 or 10, channels, height, width) of an image (height, width, channels) that OpenCV decoded.

        DataError, which begins with `where`, if the image is smaller than the crop, or the mean does not fit.
        """
        resized = resize_image(image.astype(np.float32), *self._new_size(image.shape, height, width))
        crops = _cut(resized, height, width, self.oversample, where)
        if self.rgb:
            crops = crops[..., ::-1]
        planes = np.ascontiguousarray(crops.transpose(0, 3, 1, 2))
        if self.mean is not None:
            planes -= fit_mean(self.mean, planes.shape[1], height, width)
        planes *= np.float32(self.scale)
        return planes

    def describe(self, channels: int, height: int, width: int) -> str:
        """This in a line, for a net that takes so many channels of height x width."""
        size = self.size if self.size is not None else (height, width)
        resize = "x".join(map(str, size)) if isinstance(size, tuple) else f"a shorter side of {size}"
        mean = "no mean"
        if self.mean is not None:
            mean = f"mean {','.join(f'{value:g}' for value in self.mean)}" if self.mean.ndim == 1 else "a mean image"
            if self.mean.ndim == 3 and self.mean.shape[1:] != (height, width):
                mean += f" resized from {self.mean.shape[1]}x{self.mean.shape[2]}"
        crops = "10 crops" if self.oversample else "the centre"
        order = "grey" if channels == 1 else ("RGB" if self.rgb else "BGR")
        return f"resized to {resize}, {crops} of {height}x{width}, {order}, {mean}, scale {self.scale:g}"

    def _new_size(self, image: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
        if self.size is None:
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        shorter = min(image[:2])
        return round(image[0] * self.size / shorter), round(image[1] * self.size / shorter)


def fit_mean(mean: np.ndarray, channels: int, height: int, width: int) -> np.ndarray:
    """`mean` as float32 that can be subtracted from (batch, channels, height, width); DataError for other channels.

    A mean image is resized, as Transformer.set_mean does it.
    """
    if len(mean) != channels and mean.shape != (1,):
        raise DataError(f"the mean has {len(mean)} channels, the net takes {channels}")
    if mean.ndim == 1:
        return mean.astype(np.float32)[:, None, None]
    resized = resize_image(np.ascontiguousarray(mean.transpose(1, 2, 0), np.float32), height, width)
    return resized.transpose(2, 0, 1)


def read_mean_planes(path: Path) -> np.ndarray:
    """The mean image of a .binaryproto or a .npy file (as pycaffe keeps it): float32 (channels, height, width).

    A .npy file may hold (channels,) too. DataError where it holds anything else.
    """
    if path.suffix != ".npy":
        return read_mean(path).transpose(2, 0, 1)
    mean = read_npy(path)
    if mean.ndim not in (1, 3) or mean.dtype.kind not in "fiu":
        raise DataError(f"{path}: holds {mean.dtype} {mean.shape}; a mean is (channels, height, width) or (channels,)")
    return np.ascontiguousarray(mean, np.float32)


def list_images(paths: list[Path]) -> list[Path]:
    """`paths`, with the image files in it, by name, for each folder; DataError for a missing file or empty folder."""
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError(f"{path}: no images in this folder; looked for {' '.join(IMAGE_SUFFIXES)}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"{path}: no such image or folder{slashes_hint(path)}")
    return found


def read_labels(path: Path) -> list[str]:
    """The name of every class: line k (from 0) of a file such as synset_words.txt names class k."""
    text = decoded(read_bytes(path, DataError))
    if "\0" in text or (not text.isascii() and any("\udc80" <= sign <= "\udcff" for sign in text)):
        raise DataError(f"{path}: is no text; labels are one name in each line, in UTF-8")
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.strip() for line in lines]


def _cut(image: np.ndarray, height: int, width: int, oversample: bool, where: str) -> np.ndarray:
    """The crops (1 or 10, height, width, channels) of an image; the centre begins at (size - crop) // 2."""
    room = image.shape[0] - height, image.shape[1] - width
    if min(room) < 0:
        found = f"{image.shape[0]}x{image.shape[1]}"
        raise DataError(f"{where}: is {found} once resized, the net takes {height}x{width}; give a larger size")
    corners = [(room[0] // 2, room[1] // 2)]
    if oversample:
        corners = [(top, left) for top in (0, room[0]) for left in (0, room[1])] + corners
    crops = np.stack([image[top : top + height, left : left + width] for top, left in corners])
    return np.concatenate([crops, crops[:, :, ::-1]]) if oversample else crops
