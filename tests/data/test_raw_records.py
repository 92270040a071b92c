"""Batches of records that are found in the map of an LMDB are those of one record after the other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.data.batches import DatumBatches
from caffe_compat.data.databases import open_database
from caffe_compat.data.datum import encode_datum, encode_image_file, parse_datum
from caffe_compat.data.images import decode_image, encode_image
from caffe_compat.data.lmdb import write_lmdb
from caffe_compat.data.transform import Transform
from caffe_compat.errors import DataError

pytestmark = pytest.mark.usefixtures("either_way")

IMAGES = np.random.RandomState(0).randint(0, 256, (24, 3, 9, 8)).astype(np.uint8)
FLOATS = IMAGES.astype(np.float32) / 7
FILE = encode_image(IMAGES[0].transpose(1, 2, 0), "png")
KINDS = {
    "one kind": [encode_datum(image, number) for number, image in enumerate(IMAGES)],
    "labels of several lengths": [encode_datum(image, 120 + number) for number, image in enumerate(IMAGES)],
    "negative labels": [encode_datum(image, -number) for number, image in enumerate(IMAGES)],
    "large labels": [encode_datum(image, 2**28 + number) for number, image in enumerate(IMAGES)],
    "no labels": [encode_datum(image, None) for image in IMAGES],
    "closed by encoded": [encode_datum(image, number) + b"\x38\x00" for number, image in enumerate(IMAGES)],
    "the label first": [b"\x28\x09" + encode_datum(image, None) for image in IMAGES],
    "more than is known": [encode_datum(image, 3) + b"\x7a\x02hi" for image in IMAGES],
    "floats": [encode_datum(image, number) for number, image in enumerate(FLOATS)],
    "floats among them": [encode_datum((IMAGES, FLOATS)[n % 7 == 5][n], n) for n in range(24)],
    "files among them": [encode_image_file(FILE, n) if n == 13 else encode_datum(IMAGES[n], n) for n in range(24)],
    "the second half closed": [encode_datum(IMAGES[n], n) + b"\x38\x00" * (n > 11) for n in range(24)],
}


def planes_of(record: bytes) -> np.ndarray:
    datum = parse_datum(record)
    return decode_image(datum.data, "").transpose(2, 0, 1) if datum.encoded else datum.array()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cache", [0, 1 << 29])
def test_batches_are_those_of_the_records(kind: str, cache: int, tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [(b"%05d" % number, record) for number, record in enumerate(KINDS[kind])])
    mean = np.float32([1, 20, 300])
    transform = Transform("d", True, 0.5, mean, crop=6, mirror=True)
    batches = DatumBatches(open_database(tmp_path / "db"), 5, transform, seed=3, cache_bytes=cache)
    for index in range(16):  # three passes and more
        numbers, draws = batches.choose(index)
        images, labels = batches.read(index)
        corners = transform.corners((9, 8, 3), draws)
        for image, label, number, (top, left), flip in zip(images, labels, numbers, corners, draws.flips, strict=True):
            record = KINDS[kind][number]
            wanted = (planes_of(record) - mean[:, None, None]) * np.float32(0.5)
            wanted = wanted[:, top : top + 6, left : left + 6]
            np.testing.assert_array_equal(image, wanted[..., ::-1] if flip else wanted)
            assert label == np.float32(parse_datum(record).label)
    batches.close()


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    large = np.zeros((200, 3, 32, 32), np.uint8)
    write_lmdb(tmp_path / "db", [(b"%05d" % number, encode_datum(image, 1)) for number, image in enumerate(large)])
    batches = DatumBatches(open_database(tmp_path / "db"), 100, Transform("d", True), cache_bytes=0)
    for index in (0, 1, 2):
        batches.read(index)
    os.truncate(tmp_path / "db" / "data.mdb", 8192)
    with pytest.raises(DataError, match="became shorter"):
        batches.read(3)
    batches.close()


def test_a_record_larger_than_it_may_be_for_its_sizes_is_named(tmp_path: Path) -> None:
    good = encode_datum(IMAGES[0], 1)
    assert good[:2] == b"\x08\x03"
    wrong = b"\x08\x04" + good[2:]
    write_lmdb(tmp_path / "db", [(b"%05d" % number, good) for number in range(9)] + [(b"00009", wrong)])
    batches = DatumBatches(open_database(tmp_path / "db"), 5, Transform("d", True), cache_bytes=0)
    batches.read(0)
    with pytest.raises(DataError, match="record 9 is damaged: holds 216 values, but channels"):
        batches.read(1)
    batches.close()


@pytest.mark.parametrize("width", [5461, 5462])
def test_records_with_rows_longer_than_a_loop_takes_are_read(width: int, tmp_path: Path) -> None:
    images = np.random.RandomState(8).randint(0, 256, (3, 3, 2, width)).astype(np.uint8)
    write_lmdb(tmp_path / "db", [(b"%d" % number, encode_datum(image, 1)) for number, image in enumerate(images)])
    batches = DatumBatches(open_database(tmp_path / "db"), 3, Transform("d", False), cache_bytes=0)
    np.testing.assert_array_equal(batches.read(1)[0], images)
    batches.close()
