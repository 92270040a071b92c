"""What is in a database: kind, number, sizes and labels of its records."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from caffe_compat.data.databases import backend_of, open_database
from caffe_compat.data.datum import Datum, corrupt, parse_datum
from caffe_compat.data.images import decode_image
from caffe_compat.errors import DataError


@dataclass(frozen=True)
class Contents:
    """kind: LMDB or LEVELDB. records: how many there are. seen: how many were looked at; the rest describes those.

    shapes: (channels, height, width) -> how many; forms: "uint8", "float" or an image file's kind -> how many;
    labels: label -> how many. first_key, last_key: of the records seen.
    """

    path: Path
    kind: str
    records: int | None
    seen: int
    first_key: str
    last_key: str
    shapes: dict[tuple[int, ...], int]
    forms: dict[str, int]
    labels: dict[int, int]


class Record(NamedTuple):
    """One record: its key, (channels, height, width), "uint8", "float" or an image file's kind, and its label."""

    key: str
    shape: tuple[int, ...]
    form: str
    label: int


def first_records(path: Path, count: int) -> list[Record]:
    """The first `count` records of the database at `path`. DataError where one is damaged."""
    database = open_database(path)
    found = []
    try:
        pairs = zip(database.key_order(), database.records(), strict=True)
        for number, (key, record) in enumerate(itertools.islice(pairs, count)):
            try:
                datum = parse_datum(record)
                shape, form = _look(datum, f"{path}: record {number}")
            except DataError:
                raise
            except ValueError as error:
                raise corrupt(str(path), number, error) from error
            found.append(Record(key.decode(errors="backslashreplace"), shape, form, datum.label))
    finally:
        database.close()
    return found


def survey(path: Path, backend: str | None = None, most: int | None = None) -> Contents:
    """The Contents of the database at `path`, from its first `most` records (None: all)."""
    database = open_database(path, backend)
    shapes: Counter[tuple[int, ...]] = Counter()
    forms: Counter[str] = Counter()
    labels: Counter[int] = Counter()
    keys = [b"", b""]
    seen = 0
    for key, record in itertools.islice(zip(database.key_order(), database.records(), strict=True), most):
        where = f"{path}: record {seen}"
        try:
            datum = parse_datum(record)
            shape, form = _look(datum, where)
        except DataError:
            raise
        except ValueError as error:
            raise corrupt(str(path), seen, error) from error
        shapes[shape] += 1
        forms[form] += 1
        labels[datum.label] += 1
        keys = [keys[0] if seen else key, key]
        seen += 1
    count = database.count
    database.close()
    if not seen:
        raise DataError(f"{path}: the database is empty")
    first, last = (key.decode(errors="backslashreplace") for key in keys)
    tables = dict(shapes.most_common()), dict(forms.most_common()), dict(sorted(labels.items()))
    return Contents(path, backend_of(path), count, seen, first, last, *tables)


def _look(datum: Datum, where: str) -> tuple[tuple[int, ...], str]:
    """The (channels, height, width) and the form of one record."""
    if datum.encoded:
        height, width, channels = decode_image(datum.data, where).shape
        return (channels, height, width), _kind(bytes(datum.data[:4]))
    array = datum.array()
    return array.shape, "uint8" if len(datum.data) else "float"


def _kind(head: bytes) -> str:
    return {b"\xff\xd8": "JPEG", b"\x89P": "PNG", b"BM": "BMP"}.get(head[:2], "image file")
