"""Mean images equal those of compute_image_mean."""

import numpy as np
import pytest

from caffe_compat.data.datum import encode_datum
from caffe_compat.data.lmdb import write_lmdb
from caffe_compat.data.mean import compute_mean, write_mean
from caffe_compat.data.transform import read_mean
from caffe_compat.errors import DataError
from caffe_compat.proto.binary import write_blob
from tests.conftest import golden


@pytest.mark.parametrize("name", ["raw_lmdb", "gray_resized_lmdb"])
def test_the_mean_equals_caffes_to_the_byte(name, tmp_path):
    write_mean(tmp_path / "mean.binaryproto", compute_mean(golden("formats", "db", name)))
    wanted = golden("formats", "mean", f"{name}.binaryproto").read_bytes()
    assert (tmp_path / "mean.binaryproto").read_bytes() == wanted


def test_the_mean_of_jpeg_records_is_within_their_two_levels():
    found = compute_mean(golden("formats", "db", "jpg_lmdb"))
    wanted = read_mean(golden("formats", "mean", "jpg_lmdb.binaryproto")).transpose(2, 0, 1)
    np.testing.assert_allclose(found, wanted, atol=2)


def test_float_records_have_a_mean_too(tmp_path):
    images = np.random.RandomState(0).randn(9, 2, 3, 4).astype(np.float32)
    write_lmdb(tmp_path / "db", [(b"%d" % n, encode_datum(image, n)) for n, image in enumerate(images)])
    wanted = images.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(compute_mean(tmp_path / "db"), wanted, rtol=1e-5, atol=1e-6)


def test_sums_are_rounded_to_float32_after_every_image_as_caffe_rounds_them(tmp_path):
    images = [np.full((1, 1, 2), value, np.float32) for value in (2**24, 1, 1)]  # in float32 2^24 + 1 is 2^24
    write_lmdb(tmp_path / "db", [(b"%d" % n, encode_datum(image, n)) for n, image in enumerate(images)])
    assert compute_mean(tmp_path / "db").tolist() == [[[np.float32(2**24 / 3)] * 2]]


def test_sizes_that_differ_are_named(tmp_path):
    records = [encode_datum(np.zeros(shape, np.uint8), 0) for shape in ((1, 2, 3), (1, 3, 3))]
    write_lmdb(tmp_path / "db", [(b"%d" % n, record) for n, record in enumerate(records)])
    with pytest.raises(DataError, match=r"record 1 is \(1, 3, 3\), the first \(1, 2, 3\); a mean needs one size"):
        compute_mean(tmp_path / "db")


def test_an_empty_database_has_no_mean(tmp_path):
    write_lmdb(tmp_path / "db", [])
    with pytest.raises(DataError, match="the database is empty"):
        compute_mean(tmp_path / "db")


def test_a_blob_that_is_no_image_is_no_mean(tmp_path):
    write_blob(tmp_path / "m.binaryproto", np.zeros((2, 3, 4, 4), np.float32))
    with pytest.raises(DataError, match=r"a mean image is \(1, channels, height, width\)"):
        read_mean(tmp_path / "m.binaryproto")
