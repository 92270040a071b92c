"""A set kept whole has what its batches are made of."""

import numpy as np
import pytest

from caffe_compat.data import batches as batches_module
from caffe_compat.data.batches import DatumBatches
from caffe_compat.data.databases import open_database
from caffe_compat.data.datum import encode_datum, encode_image_file
from caffe_compat.data.images import encode_image
from caffe_compat.data.lmdb import write_lmdb
from caffe_compat.data.transform import Transform

RANDOM = np.random.RandomState(0)
IMAGES = RANDOM.randint(0, 256, (23, 3, 9, 8)).astype(np.uint8)
MEAN = RANDOM.rand(9, 8, 3).astype(np.float32) * 255


def batches_of(path, transform, records=None, **options):
    records = records or [encode_datum(image, number) for number, image in enumerate(IMAGES)]
    write_lmdb(path, [(b"%05d" % number, record) for number, record in enumerate(records)])
    return DatumBatches(open_database(path), 5, transform, seed=7, **options)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("crop", [0, 6])
@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("mean", [None, MEAN, MEAN[0, 0]], ids=["none", "image", "values"])
def test_batches_follow_from_the_whole_set_and_what_was_drawn(tmp_path, train, crop, mirror, mean):
    transform = Transform("d", train, scale=0.5, mean=mean, crop=crop, mirror=mirror)
    batches = batches_of(tmp_path / "db", transform, rank=1, ranks=2)
    whole = batches.whole_set()
    np.testing.assert_array_equal(whole.pixels, IMAGES.transpose(0, 2, 3, 1))
    for index in range(12):
        numbers, draws = batches.choose(index)
        images, labels = batches.read(index)
        np.testing.assert_array_equal(labels, whole.labels[numbers])
        corners = transform.corners(whole.pixels.shape[1:], draws)
        for image, number, (top, left), flip in zip(images, numbers, corners, draws.flips, strict=True):
            wanted = whole.pixels[number] - (np.float32(0) if mean is None else mean)
            wanted = wanted[top : top + crop, left : left + crop] if crop else wanted
            wanted = (wanted[:, ::-1] if flip else wanted) * np.float32(0.5)
            np.testing.assert_array_equal(image.transpose(1, 2, 0), wanted)


def test_encoded_images_are_kept_whole_too(tmp_path):
    files = [encode_image_file(encode_image(image.transpose(1, 2, 0), "png"), 3) for image in IMAGES]
    whole = batches_of(tmp_path / "db", Transform("d", True), files).whole_set()
    np.testing.assert_array_equal(whole.pixels, IMAGES.transpose(0, 2, 3, 1))
    assert set(whole.labels) == {3}


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("at_once", [4, 1000])
def test_a_set_of_raw_records_and_files_is_kept_whole_in_order(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(batches_module, "_COPIED", at_once)
    files = [encode_image_file(encode_image(image.transpose(1, 2, 0), "png"), 200) for image in IMAGES[10:12]]
    raw = [encode_datum(image, number) for number, image in enumerate(IMAGES)]
    whole = batches_of(tmp_path / "db", Transform("d", True), [*raw[:10], *files, *raw[12:]]).whole_set()
    np.testing.assert_array_equal(whole.pixels, IMAGES.transpose(0, 2, 3, 1))
    assert whole.labels.tolist() == [*range(10), 200, 200, *range(12, 23)]


def test_large_sets_floats_and_several_sizes_are_not_kept_whole(tmp_path):
    crop = Transform("d", True, crop=4)
    assert batches_of(tmp_path / "large", crop).whole_set(most_bytes=IMAGES.nbytes - 1) is None
    floats = [encode_datum(IMAGES[0].astype(np.float32), 0)]
    assert batches_of(tmp_path / "floats", crop, floats).whole_set() is None
    sizes = [encode_datum(IMAGES[0], 0), encode_datum(IMAGES[1, :, :5], 0)]
    assert batches_of(tmp_path / "sizes", crop, sizes).whole_set() is None
