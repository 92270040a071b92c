"""Mean images, as compute_image_mean makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe_compat.data.databases import open_database
from caffe_compat.data.datum import corrupt, parse_datum
from caffe_compat.data.images import decode_image
from caffe_compat.errors import DataError
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.schema import BlobProto


def compute_mean(path: Path, backend: str | None = None) -> np.ndarray:
    """The mean of all images of a database: float32 (channels, height, width).

    Sums are in float32, one image after another, as in Caffe: exact up to 65,793 images. DataError where sizes differ.
    """
    database = open_database(path, backend)
    total: np.ndarray | None = None
    count = 0
    for number, record in enumerate(database.records()):
        try:
            datum = parse_datum(record)
            image = (
                decode_image(datum.data, f"{path}: record {number}").transpose(2, 0, 1)
                if datum.encoded
                else datum.array()
            )
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise corrupt(str(path), number, error) from error
        if total is None:
            total = np.zeros(image.shape, np.float32)
        if image.shape != total.shape:
            raise DataError(f"{path}: record {number} is {image.shape}, the first {total.shape}; a mean needs one size")
        total += image
        count += 1
    database.close()
    if total is None:
        raise DataError(f"{path}: the database is empty")
    mean: np.ndarray = total / np.float32(count)
    return mean


def write_mean(path: Path, mean: np.ndarray) -> None:
    """Write (channels, height, width) as a .binaryproto with the four old dimensions, as Caffe's tool does.

    WriteError where the disk does not take it.
    """
    channels, height, width = mean.shape
    blob = BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data.extend(mean.ravel().tolist())
    with write_atomically(path) as temporary:
        temporary.write_bytes(blob.SerializeToString())
