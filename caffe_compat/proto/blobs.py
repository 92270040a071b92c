"""BlobProto <-> array, and the shapes of blobs from before a blob could have any number of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.errors import ParseError
from caffe_compat.proto.schema import BlobProto

Weights = dict[str, tuple[np.ndarray, ...]]
"""Layer name -> its blobs, in Caffe's order and shapes. Float32; float64 where the file has double_data."""


def blob_to_array(blob: Any) -> np.ndarray:
    """The data of a BlobProto in its shape: float32, or float64 where it is `double_data`.

    Raises ParseError where the number of values is not what the shape asks for.
    """
    double = len(blob.double_data) > 0
    values = np.array(blob.double_data if double else blob.data, dtype=np.float64 if double else np.float32)
    shape = blob_shape(blob)
    if int(np.prod(shape, dtype=object)) != values.size or min(shape, default=0) < 0:
        raise ParseError(f"blob of shape {shape} has {values.size} values")
    return values.reshape(shape)


def array_to_blob(array: np.ndarray) -> Any:
    """A BlobProto with `shape` and `data`, or `double_data` for a float64 array."""
    blob = BlobProto()
    blob.shape.dim.extend(array.shape)
    if not array.ndim:
        blob.shape.SetInParent()
    (blob.double_data if array.dtype == np.float64 else blob.data).extend(array.ravel().tolist())
    return blob


def blob_shape(blob: Any) -> tuple[int, ...]:
    """The shape a BlobProto declares: its four old dimensions where any of them is set, as in Caffe, else `shape`."""
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        return (blob.num, blob.channels, blob.height, blob.width)
    return tuple(blob.shape.dim)
