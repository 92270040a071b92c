"""Databases with a border round every image, for nets that are trained on random crops of it (ResNet on CIFAR-10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from caffe_compat.data.databases import Database, open_database, write_database
from caffe_compat.data.datum import corrupt, encode_datum, parse_datum
from caffe_compat.errors import DataError


def pad_database(source: Path, path: Path, border: int = 4, value: int = 0, backend: str = "LMDB") -> int:
    """Write the images of `source` with `border` pixels of `value` on each side, keys and labels kept; gives how many.

    With value 0 and a mean image of the padded set, the border is 0 after the mean is subtracted, as in He et al.
    (arXiv:1512.03385, section 4.2).
    """
    database = open_database(source)
    try:
        return write_database(path, _padded(database, border, value), backend)
    finally:
        database.close()


def _padded(database: Database, border: int, value: int) -> Iterator[tuple[bytes, bytes]]:
    sides = ((0, 0), (border, border), (border, border))
    for number, (key, record) in enumerate(zip(database.key_order(), database.records(), strict=True)):
        try:
            datum = parse_datum(record)
            if datum.encoded:
                raise DataError(f"{database.path}: record {number} is an encoded image; only raw ones can be padded")
            yield key, encode_datum(np.pad(datum.array(), sides, constant_values=value), datum.label)
        except DataError:
            raise
        except ValueError as error:
            raise corrupt(str(database.path), number, error) from error
