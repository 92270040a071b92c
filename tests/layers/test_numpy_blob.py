"""Blobs of Python layers: legacy sizes, and what reshape keeps."""

import numpy as np

from caffe_compat.layers.numpy_blob import BlobVector, NumPyBlob


def test_missing_axes_count_as_1() -> None:
    blob = NumPyBlob((5, 4))
    assert (blob.num, blob.channels, blob.height, blob.width) == (5, 4, 1, 1)
    assert NumPyBlob(()).num == 1


def test_reshape_keeps_values_where_the_count_stays() -> None:
    blob = NumPyBlob((2, 3))
    blob.data[...] = np.arange(6).reshape(2, 3)
    blob.reshape(3, 2)
    assert blob.data.tolist() == [[0, 1], [2, 3], [4, 5]]
    blob.reshape(2, 2)
    assert blob.data.tolist() == [[0, 0], [0, 0]]


def test_add_blob_appends_zeros() -> None:
    blobs = BlobVector()
    blobs.add_blob(2, 1)
    assert blobs[0].diff.tolist() == [[0], [0]]
