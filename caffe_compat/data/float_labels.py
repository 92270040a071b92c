"""Image lists whose labels are numbers, one or several an image -> HDF5, or two databases side by side.

A Datum has one whole number for its label. So the labels of a regression go into a database of their own, records of
float_data under the keys of the images, or beside the images into HDF5 files (HDF5Data, hdf5_data_layer.cpp).
"""

from __future__ import annotations

import logging
import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from caffe_compat.data.databases import open_database, write_database
from caffe_compat.data.datum import encode_datum
from caffe_compat.data.images import read_image
from caffe_compat.data.imageset import Conversion, make_imageset, none_readable
from caffe_compat.data.order import permutation
from caffe_compat.data.writing import new_database
from caffe_compat.errors import DataError
from caffe_compat.proto.reading import read_lines

FloatEntries = Sequence[tuple[str, tuple[float, ...]]]

_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,4}$")  # numbers behind it are labels; without it they may be part of a name
_FILE_BYTES = 256 << 20  # of images in an HDF5 file, which HDF5Data reads whole
_AHEAD = 64  # images in the making
_log = logging.getLogger(__name__)


def read_float_list(path: Path) -> list[tuple[str, tuple[float, ...]]]:
    """(name, labels) of every line of a list file: as many numbers behind the name as the first line has.

    DataError with the line that has fewer or more, or what is no finite number.
    """
    entries: list[tuple[str, tuple[float, ...]]] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        count = len(entries[0][1]) if entries else _trailing(line)
        words = line.rstrip().rsplit(" ", max(count, 1))
        labels = [_number(word) for word in words[1:]]
        if not count or len(labels) < count or not all(map(math.isfinite, labels)) or not words[0].strip():
            wanted = f"{count} numbers" if entries else "one number or several"
            raise DataError(f"{path}:{number}: '{line}' should be an image's name and {wanted}, with spaces between")
        if _trailing(line) > count and _SUFFIX.search(line.rstrip().rsplit(" ", _trailing(line))[0]):
            raise DataError(
                f"{path}:{number}: '{line}' has {_trailing(line)} numbers, the first line {count}; give as many"
            )
        entries.append((words[0].rstrip(), tuple(labels)))
    if not entries:
        raise DataError(f"{path}: the list is empty; it should name an image and its labels in each line")
    return entries


def make_labelled_databases(
    entries: FloatEntries,
    root: str,
    path: Path,
    backend: str = "LMDB",
    conversion: Conversion | None = None,
    shuffle: bool = False,
    seed: int = 0,
    workers: int | None = None,
) -> tuple[int, list[str]]:
    """As `make_imageset`, and the labels of each image as float_data in a database at `labels_path(path)`.

    A record there has the shape (labels, 1, 1) and the key of its image; so two Data layers give both in step.
    """
    plain = [(name, 0) for name, _ in entries]
    written, bad = make_imageset(plain, root, path, backend, conversion, shuffle, seed, workers)
    order = permutation(len(entries), seed) if shuffle else np.arange(len(entries))
    database = open_database(path, backend)
    try:
        keys = list(database.key_order())
    finally:
        database.close()
    labels = ((key, np.array(entries[order[int(key[:8])]][1], np.float32).reshape(-1, 1, 1)) for key in keys)
    write_database(labels_path(path), ((key, encode_datum(each, None)) for key, each in labels), backend)
    return written, bad


def labels_path(path: Path) -> Path:
    """Where the labels of the images at `path` go."""
    return path.with_name(f"{path.name}_labels")


def make_labelled_hdf5(
    entries: FloatEntries,
    root: str,
    folder: Path,
    conversion: Conversion | None = None,
    shuffle: bool = False,
    seed: int = 0,
    workers: int | None = None,
) -> tuple[int, list[str]]:
    """HDF5 files in a new `folder`, and list.txt, which names them for HDF5Data; how many images, and the bad ones.

    data: (images, channels, height, width), pixels from 0 to 255, BGR; label: (images, labels); float32. All images
    must have one size, or be given one. DataError names an image that cannot be read, unless bad ones are skipped.
    """
    conversion = conversion or Conversion()
    order = permutation(len(entries), seed) if shuffle else np.arange(len(entries))
    bad: list[str] = []
    written = files = 0
    with new_database(folder, False, (OSError,)) as partial:
        for images, labels in _parts([entries[i] for i in order.tolist()], root, conversion, workers or 2, bad):
            with h5py.File(partial / f"{files:04d}.h5", "w") as file:
                file["data"], file["label"] = np.stack(images), np.array(labels, np.float32)
            written, files = written + len(images), files + 1
        names = "".join(f"{folder / f'{number:04d}.h5'}\n" for number in range(files))
        (partial / "list.txt").write_text(names, encoding="utf-8")
    return written, bad


def _parts(
    entries: FloatEntries, root: str, conversion: Conversion, workers: int, bad: list[str]
) -> Iterator[tuple[list[np.ndarray], list[tuple[float, ...]]]]:
    """Images and labels for one file after another; the names of skipped images go to `bad`."""
    images: list[np.ndarray] = []
    labels: list[tuple[float, ...]] = []
    shape: tuple[int, ...] = ()
    for name, image, label in _decoded(entries, root, conversion, workers, bad):
        shape = shape or image.shape
        if image.shape != shape:
            raise DataError(f"{root}{name}: is {image.shape}, the first image {shape}; give a size to resize all to")
        images.append(image)
        labels.append(label)
        if len(images) * image.nbytes >= _FILE_BYTES:
            yield images, labels
            images, labels = [], []
    if images:
        yield images, labels
    elif not shape:
        raise none_readable(root, len(entries))


def _decoded(
    entries: FloatEntries, root: str, conversion: Conversion, workers: int, bad: list[str]
) -> Iterator[tuple[str, np.ndarray, tuple[float, ...]]]:
    """(name, (channels, height, width), labels) of each image in order, decoded by several threads."""

    def decode(name: str) -> np.ndarray:
        image = read_image(Path(root + name), conversion.height, conversion.width, not conversion.gray)
        return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)

    with ThreadPoolExecutor(workers, "decode") as pool:
        pending: deque[tuple[str, tuple[float, ...], Future[np.ndarray]]] = deque()
        source = iter(entries)
        try:
            while True:
                for name, label in source:
                    pending.append((name, label, pool.submit(decode, name)))
                    if len(pending) >= _AHEAD:
                        break
                if not pending:
                    return
                name, label, made = pending.popleft()
                try:
                    image = made.result()
                except DataError as error:
                    if not conversion.skip_bad:
                        raise
                    _log.warning("skipped: %s", error)
                    bad.append(name)
                    continue
                yield name, image, label
        finally:
            pool.shutdown(cancel_futures=True)


def _trailing(line: str) -> int:
    """How many words at the end of a line are numbers, the name before them left out."""
    words = line.split()[1:]
    return next((count for count, word in enumerate(reversed(words)) if math.isnan(_number(word))), len(words))


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
