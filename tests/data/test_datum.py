"""Datums read from and written to the wire agree with protobuf's own reading and writing."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_compat.data.datum import encode_datum, encode_image_file, parse_alike, parse_datum
from caffe_compat.proto.schema import Datum

LABELS = st.integers(-(2**31), 2**31 - 1)
SIDES = st.integers(1, 7)


def by_protobuf(image, label):
    datum = Datum(channels=image.shape[0], height=image.shape[1], width=image.shape[2], label=label)
    if image.dtype == np.uint8:
        datum.data = image.tobytes()
    else:
        datum.float_data.extend(image.ravel().tolist())
    return datum.SerializeToString()


@given(st.tuples(SIDES, SIDES, SIDES), LABELS, st.booleans(), st.integers(0, 99))
def test_written_and_read_as_protobuf_does(shape, label, floats, seed):
    random = np.random.RandomState(seed)
    image = random.randint(0, 256, shape).astype(np.uint8)
    image = random.randn(*shape).astype(np.float32) if floats else image
    record = by_protobuf(image, label)
    assert encode_datum(image, label) == record
    datum = parse_datum(memoryview(record))
    np.testing.assert_array_equal(datum.array(), image)
    assert (datum.label, datum.encoded, datum.array().dtype) == (label, False, image.dtype)


@given(st.lists(st.integers(0, 2**21), min_size=1, max_size=9), st.booleans(), st.tuples(SIDES, SIDES, SIDES))
def test_records_read_together_equal_records_read_one_by_one(labels, with_encoded_field, shape):
    images = [np.random.RandomState(n).randint(0, 256, shape).astype(np.uint8) for n in range(len(labels))]
    records = [encode_datum(image, label) for image, label in zip(images, labels, strict=True)]
    if with_encoded_field:
        records = [record + b"\x38\x00" for record in records]
    alike = parse_alike(records)
    if alike is None:
        assert len(set(map(len, records))) > 1
    else:
        np.testing.assert_array_equal(alike[0], np.stack(images))
        assert alike[1].tolist() == [float(label) for label in labels]


@pytest.mark.parametrize(
    "other",
    [
        encode_datum(np.zeros((1, 3, 2), np.uint8), 1),
        encode_datum(np.zeros((1, 2, 3), np.uint8), 128),
        encode_datum(np.zeros((1, 2, 3), np.float32), 1),
        encode_datum(np.zeros((1, 2, 3), np.uint8), 1)[:-2] + b"\x38\x01",
        encode_image_file(b"123456789012", 1),
    ],
)
def test_records_of_different_kinds_are_not_read_together(other):
    assert parse_alike([encode_datum(np.zeros((1, 2, 3), np.uint8), 1), other]) is None


def test_fields_in_any_order_unknown_ones_and_packed_floats_are_read():
    values = np.arange(6, dtype=np.float32)
    record = b"\x28\x07" + b"\x32\x18" + values.tobytes() + b"\x18\x03\x10\x02\x08\x01" + b"\x7a\x02hi" + b"\x70\x05"
    datum = parse_datum(record)
    assert datum.label == 7
    np.testing.assert_array_equal(datum.array(), values.reshape(1, 2, 3))
    assert Datum.FromString(record).float_data == values.tolist()


def test_an_image_file_is_kept_as_it_is():
    record = encode_image_file(b"the file", 5)
    assert record == Datum(data=b"the file", label=5, encoded=True).SerializeToString()
    datum = parse_datum(record)
    assert (bytes(datum.data), datum.label, datum.encoded) == (b"the file", 5, True)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(record):
    with contextlib.suppress(ValueError):
        parse_datum(record)
