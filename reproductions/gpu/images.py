"""CIFAR-10 for a machine without databases or codecs: packed into a few files, and a data layer that reads arrays.

A packed file is xz of what is left of each image after prediction: green, red - green and blue - green, each less the
median of its left neighbour, the upper one and their gradient (Weinberger et al. 2000, LOCO-I), modulo 256. That takes
100 MB of CIFAR-10's 184, as WebP does (99 MB); the best codec that was tried, JPEG XL, takes 88 MB.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import caffe_compat as cc
from caffe_compat.data.batches import DatumBatches
from caffe_compat.data.datasets import CIFAR10_SHA256
from caffe_compat.data.mean import write_mean
from caffe_compat.data.prefetch import Batches
from caffe_compat.data.transform import read_transform
from caffe_compat.layers.caffe.data import Data
from caffe_compat.layers.registry import register_layer
from reproductions.steps import StepError

SIDE, PIXELS = 32, 3 * 32 * 32
PIECES = "cifar10-{number}-of-{count}.xz"
TRAIN, TEST = "cifar10_train_lmdb", "cifar10_test_lmdb"  # the names that the nets of reproductions/ have for them
PADDED, MEAN, PADDED_MEAN = "cifar10_pad4_train_lmdb", "mean.binaryproto", "mean_pad.binaryproto"
BORDER = 4


def pack(source: Path, out: Path, pieces: int = 2) -> list[Path]:
    """Pack the published files in `source` (see `caffe-compat data cifar10`) into `pieces` files of `out`."""
    records = np.concatenate([_published(source / name) for name in CIFAR10_SHA256])
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for number, part in enumerate(np.array_split(records, pieces), start=1):
        path = out / PIECES.format(number=number, count=pieces)
        labels, images = part[:, :1].tobytes(), part[:, 1:].reshape(-1, 3, SIDE, SIDE)
        with cc.write_atomically(path) as temporary:
            temporary.write_bytes(lzma.compress(labels + residues(images).tobytes(), preset=9))
        made.append(path)
    return made


def unpack(piece: Path, out: Path) -> int:
    """Put the images of one packed file into the folder `out`; how many of all files are there now."""
    number, count = numbers_of(piece)
    try:
        content = np.frombuffer(lzma.decompress(piece.read_bytes()), np.uint8)
    except lzma.LZMAError as error:
        raise StepError(f"{piece}: is cut short or damaged ({error}); pack it again") from None
    images = len(content) // (1 + PIXELS)
    records = np.empty((images, 1 + PIXELS), np.uint8)
    records[:, 0] = content[:images]
    records[:, 1:] = restored(content[images:].reshape(images, 3, SIDE, SIDE)).reshape(images, PIXELS)
    out.mkdir(parents=True, exist_ok=True)
    with cc.write_atomically(out / f"{number}-of-{count}.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, records)
    return len(list(out.glob(f"*-of-{count}.npy")))


def numbers_of(piece: Path) -> tuple[int, int]:
    """Which file it is, and of how many, from its name; StepError for another name."""
    words = piece.stem.split("-")
    if len(words) != 4 or not (words[1] + words[3]).isdigit():
        raise StepError(f"{piece}: its name is not as `pack` gives it, {PIECES.format(number=1, count=2)}")
    return int(words[1]), int(words[3])


def make_arrays(source: Path, folder: Path, seed: int) -> None:
    """The arrays of training and test images and the mean, in `folder`, from the unpacked files in `source`.

    The training images are in the order of `seed`, as `datasets.published_cifar10` has it. StepError where a file is
    missing.
    """
    parts = sorted(source.glob("*-of-*.npy"), key=lambda path: int(path.name.partition("-")[0]))
    count = numbers_of(Path(f"cifar10-{parts[0].stem}")) if parts else (0, 0)
    if not parts or len(parts) != count[1]:
        raise StepError(f"{source}: has {len(parts)} of {count[1] or 'all'} parts of CIFAR-10; unpack the others")
    records = np.concatenate([np.load(path) for path in parts])
    train, test = np.split(records, [len(records) * 5 // 6])
    if seed > 1:
        train = train[np.random.default_rng(seed).permutation(len(train))]
    images = train[:, 1:].reshape(-1, 3, SIDE, SIDE)
    padded = np.pad(images, ((0, 0), (0, 0), (BORDER, BORDER), (BORDER, BORDER)))
    for name, pixels, labels in (
        (TRAIN, images, train[:, 0]),
        (TEST, test[:, 1:].reshape(-1, 3, SIDE, SIDE), test[:, 0]),
        (PADDED, padded, train[:, 0]),
    ):
        write_arrays(folder / name, pixels, labels)
    for name, pixels in ((MEAN, images), (PADDED_MEAN, padded)):
        write_mean(folder / name, (pixels.sum(axis=0, dtype=np.int64).astype(np.float32) / np.float32(len(pixels))))


def write_arrays(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """A folder that ArrayData reads: uint8 images (count, channels, height, width) and their labels."""
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / "images.npy", images)
    np.save(path / "labels.npy", labels)


def residues(images: np.ndarray) -> np.ndarray:
    """What prediction leaves of uint8 images (count, 3, height, width); of the same shape and type."""
    planes = _turned(images.astype(np.int16))
    left, upper, corner = (np.zeros_like(planes) for _ in range(3))
    left[..., 1:], upper[..., 1:, :], corner[..., 1:, 1:] = planes[..., :-1], planes[..., :-1, :], planes[..., :-1, :-1]
    left_over: np.ndarray = (planes - _predicted(left, upper, corner)) & 255
    return left_over.astype(np.uint8)


def restored(found: np.ndarray) -> np.ndarray:
    """The images that `residues` was made of."""
    planes = np.zeros(found.shape, np.int16)
    nothing = np.zeros(found.shape[:2], np.int16)
    for row in range(found.shape[2]):
        for column in range(found.shape[3]):
            left = planes[:, :, row, column - 1] if column else nothing
            upper = planes[:, :, row - 1, column] if row else nothing
            corner = planes[:, :, row - 1, column - 1] if row and column else nothing
            value = found[:, :, row, column] + _predicted(left, upper, corner)
            planes[:, :, row, column] = value & 255
    green, red, blue = (planes[:, index] for index in range(3))
    return np.stack([red + green, green, blue + green], axis=1).astype(np.uint8)


def _turned(images: np.ndarray) -> np.ndarray:
    """Green, red - green, blue - green, modulo 256."""
    red, green, blue = (images[:, index] for index in range(3))
    return np.stack([green, (red - green) & 255, (blue - green) & 255], axis=1)


def _predicted(left: np.ndarray, upper: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The median of left, upper and left + upper - corner."""
    low, high = np.minimum(left, upper), np.maximum(left, upper)
    median: np.ndarray = np.clip(left + upper - corner, low, high)
    return median


def _published(path: Path) -> np.ndarray:
    """The records of a published file, a row each: the label, then the planes."""
    content = np.fromfile(path, np.uint8)
    if not content.size or content.size % (1 + PIXELS):
        raise StepError(f"{path}: {content.size} bytes are no records of {1 + PIXELS}; wanted the binary version")
    return content.reshape(-1, 1 + PIXELS)


class Arrays:
    """The arrays of `write_arrays` as a database of Datums."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._images, self._labels = (np.load(path / name, mmap_mode="r") for name in ("images.npy", "labels.npy"))
        self.count: int | None = len(self._labels)

    def records(self, start: int = 0) -> Iterator[bytes]:
        for image, label in zip(self._images[start:], self._labels[start:], strict=True):
            yield cc.encode_datum(np.ascontiguousarray(image), int(label))

    def key_order(self) -> Iterator[bytes]:
        return (b"%05d" % number for number in range(len(self._labels)))

    def close(self) -> None:
        """Nothing: the arrays are the map's."""


class ArrayData(Data):
    """As Data, from a folder of `write_arrays`; data_param and transform_param mean the same. See `know_arrays`."""

    def open(self) -> Batches:
        fields = self.param.data_param
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        database = Arrays(self.find(fields.source))
        batches = DatumBatches(database, fields.batch_size, transform, self.seed, self.rank, self.ranks)
        return self.prefetched(batches, fields.prefetch)


def know_arrays() -> None:
    """Let nets have layers of type ArrayData."""
    register_layer("ArrayData")(ArrayData)


def from_arrays(net: Any) -> None:
    """Have the Data layers of a NetParameter read arrays, in place."""
    for layer in net.layer:
        if layer.type == "Data":
            layer.type = "ArrayData"
