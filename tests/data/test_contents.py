"""What `data info` and `data pad` say and do, on databases that Caffe wrote."""

import numpy as np
import pytest

from caffe_compat.data.contents import survey
from caffe_compat.data.databases import open_database
from caffe_compat.data.datum import encode_datum, encode_image_file, parse_datum
from caffe_compat.data.lmdb import write_lmdb
from caffe_compat.data.padding import pad_database
from tests.conftest import golden
from tests.data.refusals import error_of

DB = golden("formats", "db")


@pytest.mark.leveldb
def test_raw_encoded_and_float_databases_are_described():
    raw, mixed = survey(DB / "raw_lmdb"), survey(DB / "encoded_mixed_leveldb")
    assert (raw.kind, raw.records, raw.shapes, raw.forms) == ("LMDB", 40, {(3, 26, 20): 40}, {"uint8": 40})
    assert (raw.first_key, raw.last_key) == ("00000000_img_00.png", "00000039_img_39.jpg")
    assert (mixed.kind, mixed.records, mixed.forms) == ("LEVELDB", 40, {"PNG": 30, "JPEG": 10})
    assert survey(DB / "float_lmdb").forms == {"float": 12}


def test_labels_are_counted_over_the_records_looked_at():
    database = open_database(DB / "mnist_lmdb")
    labels = [parse_datum(record).label for record in database.records()][:7]
    database.close()
    found = survey(DB / "mnist_lmdb", most=7)
    assert found.labels == {label: labels.count(label) for label in sorted(set(labels))}
    assert (found.seen, found.records) == (7, 30)


def test_padding_adds_a_border_and_keeps_keys_and_labels(tmp_path):
    assert pad_database(DB / "raw_lmdb", tmp_path / "db", border=4, value=9) == 40
    source, padded = open_database(DB / "raw_lmdb"), open_database(tmp_path / "db")
    assert list(source.key_order()) == list(padded.key_order())
    for before, after in zip(source.records(), padded.records(), strict=True):
        one, other = parse_datum(before), parse_datum(after)
        assert one.label == other.label and other.shape == (3, 34, 28)
        np.testing.assert_array_equal(other.array()[:, 4:-4, 4:-4], one.array())
        assert int(other.array().sum()) == int(one.array().sum()) + 9 * 3 * (34 * 28 - 26 * 20)


def test_a_damaged_record_is_named(tmp_path):
    write_lmdb(tmp_path / "db", [(b"0", encode_datum(np.zeros((1, 1, 1), np.uint8), 0)), (b"1", b"\x08\x01")])
    for call in (survey, lambda path: pad_database(path, tmp_path / "out")):
        assert error_of(call, tmp_path / "db").startswith(f"{tmp_path}/db: record 1 is damaged: holds 0 values")


def test_an_empty_database_has_no_contents(tmp_path):
    write_lmdb(tmp_path / "db", [])
    assert error_of(survey, tmp_path / "db") == f"{tmp_path}/db: the database is empty"


def test_encoded_images_are_not_padded(tmp_path):
    write_lmdb(tmp_path / "db", [(b"0", encode_image_file(b"", 0))])
    assert "record 0 is an encoded image" in error_of(pad_database, tmp_path / "db", tmp_path / "out")
    assert not (tmp_path / "out").exists()
