"""Image files -> a database, as convert_imageset makes it."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_compat.data.databases import stored_keys, write_database
from caffe_compat.data.datum import encode_datum, encode_image_file
from caffe_compat.data.images import decode_image, encode_image, read_file, resize_image
from caffe_compat.data.order import permutation
from caffe_compat.errors import DataError

_AHEAD = 4  # records in the making for each worker
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversion:
    """What becomes of each image: convert_imageset's flags.

    height, width: the new size, 0 for its own. gray: one channel. encoded: store image files, not pixels, each of its
    own kind; without a new size they are stored as they are, in colour too where gray is asked for, as Caffe does.
    encode_type: "png", "jpg", ...: store image files that are all encoded anew, as the paper's fork does; Caffe 1.0
    stores files of that kind as they are. check_size: refuse images of several sizes. skip_bad: leave out images that
    cannot be read.
    """

    height: int = 0
    width: int = 0
    gray: bool = False
    encoded: bool = False
    encode_type: str = ""
    check_size: bool = False
    skip_bad: bool = False

    def record(self, path: Path, label: int, read: Callable[[Path], bytes] = read_file) -> tuple[bytes, int]:
        """The Datum of one image file, and how many pixel values it has."""
        content = read(path)
        image = resize_image(decode_image(content, str(path), not self.gray), self.height, self.width)
        if self.as_it_is:
            return encode_image_file(content, label), image.size
        if self.encoded or self.encode_type:
            return encode_image_file(encode_image(image, self.encode_type or path.suffix), label), image.size
        # CVMatToDatum says `encoded: false` where other writers leave the field out
        return encode_datum(np.ascontiguousarray(image.transpose(2, 0, 1)), label) + b"\x38\x00", image.size

    @property
    def as_it_is(self) -> bool:
        """Whether image files are stored unchanged."""
        return self.encoded and not (self.encode_type or self.height)


def make_imageset(
    entries: Sequence[tuple[str, int]],
    root: str,
    path: Path,
    backend: str = "LMDB",
    conversion: Conversion | None = None,
    shuffle: bool = False,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = False,
    read: Callable[[Path], bytes] = read_file,
) -> tuple[int, list[str]]:
    """Write the images `root` + name of (name, label) `entries` to a new database; gives how many, and the bad ones.

    Keys are the place in the list, eight digits, `_` and the name. Images are decoded by `workers` threads. With
    `resume` a run that ended early leaves what it wrote, and the next such run goes on from there.
    `read` gives the bytes of an image file, which may lie in an archive.
    DataError names an image that cannot be read, unless the conversion skips bad ones.
    """
    conversion = conversion or Conversion()
    if (conversion.height > 0) != (conversion.width > 0) or min(conversion.height, conversion.width) < 0:
        raise DataError("resize_height and resize_width: give both, or neither")
    if conversion.gray and conversion.as_it_is:
        _log.warning("gray has no effect on image files that are stored as they are; name an encode_type")
    order = permutation(len(entries), seed) if shuffle else np.arange(len(entries))
    keyed = [(b"%08d_%s" % (line, os.fsencode(entries[i][0])), *entries[i]) for line, i in enumerate(order.tolist())]
    stored = stored_keys(path, backend) if resume else None
    if stored:
        keyed = [entry for entry in keyed if entry[0] > stored.last]
        _log.info("%s: %d records are there already", path, stored.count)
    bad: list[str] = []
    records = _converted(keyed, root, conversion, read, workers or len(os.sched_getaffinity(0)), bad)
    return write_database(path, records if stored else _some(records, root, bad), backend, resume), bad


def _some(records: Iterator[tuple[bytes, bytes]], root: str, bad: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """`records`; DataError where every image was skipped, for no database of nothing is wanted."""
    for first in records:
        yield first
        yield from records
        return
    if bad:
        raise none_readable(root, len(bad))


def none_readable(root: str, count: int) -> DataError:
    """The error where none of the `count` images of a list can be read."""
    return DataError(f"{root}: none of the {count} images can be read, so that nothing is written")


def _converted(
    keyed: Sequence[tuple[bytes, str, int]],
    root: str,
    conversion: Conversion,
    read: Callable[[Path], bytes],
    workers: int,
    bad: list[str],
) -> Iterator[tuple[bytes, bytes]]:
    """(key, record) in the order of `keyed`, made by several threads; the names of skipped images go to `bad`."""
    sizes: set[int] = set()
    with ThreadPoolExecutor(workers, "convert") as pool:
        pending: deque[tuple[bytes, str, Future[tuple[bytes, int]]]] = deque()
        source = iter(keyed)
        try:
            while True:
                for key, name, label in source:
                    pending.append((key, name, pool.submit(conversion.record, Path(root + name), label, read)))
                    if len(pending) >= _AHEAD * workers:
                        break
                if not pending:
                    return
                key, name, made = pending.popleft()
                try:
                    record, size = made.result()
                except DataError as error:
                    if not conversion.skip_bad:
                        raise
                    _log.warning("skipped: %s", error)
                    bad.append(name)
                    continue
                sizes.add(size)
                if conversion.check_size and len(sizes) > 1:
                    raise DataError(
                        f"{root}{name}: has {size} values, images before it {min(sizes - {size})}; resize them"
                    )
                yield key, record
        finally:
            pool.shutdown(cancel_futures=True)
