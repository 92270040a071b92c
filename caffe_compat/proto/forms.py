"""What a file says of a blob beside its shape and values: diff, half precision, four old dimensions, fields of forks.

With its form a blob is written back as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_compat.proto.wire import BYTES, Walker, delimited, tag, varint

DATA, DIFF, SHAPE, DOUBLE_DATA, DOUBLE_DIFF, RAW_TYPE, RAW_DATA = 5, 6, 7, 8, 9, 10, 12  # fields of a BlobProto
FLOAT: np.dtype[Any] = np.dtype("<f4")
DOUBLE: np.dtype[Any] = np.dtype("<f8")


@dataclass(frozen=True)
class BlobForm:
    """A BlobProto around its values: the bytes `before` and `after` the field number `field`, whose values are `dtype`.

    shape: of the array that it fits.
    """

    before: bytes
    field: int
    dtype: np.dtype[Any]
    after: bytes
    shape: tuple[int, ...] = ()

    def blob_bytes(self, array: np.ndarray) -> list[bytes | memoryview] | None:
        """The BlobProto of `array` in this form, in pieces; None where it has no place in it.

        That is an array of another shape, or one with values that `dtype` cannot have, such as trained on ones in half
        precision.
        """
        if array.shape != self.shape:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.ascontiguousarray(array, self.dtype)
        if values.dtype != array.dtype and not np.array_equal(values.astype(array.dtype), array, equal_nan=True):
            return None
        if not values.size:
            return [self.before, self.after]
        head = tag(self.field, BYTES) + varint(values.nbytes)
        return [self.before, head, values.reshape(-1).data.cast("B"), self.after]

    def diff(self) -> np.ndarray | None:
        """The gradient that stands beside the values, in their shape; None where there is none of that size."""
        walker = Walker(self.before + self.after)
        for part in walker.fields(0, len(walker.data)):
            dtype = {DIFF: FLOAT, DOUBLE_DIFF: DOUBLE}.get(part.number)
            if dtype is not None and part.wire == BYTES and part.end > part.start:
                values = np.frombuffer(walker.data[part.start : part.end], dtype)
                return values.reshape(self.shape) if values.size == math.prod(self.shape) else None
        return None


def form_with_diff(diff: np.ndarray) -> BlobForm:
    """The form of a blob as Caffe writes it with its gradient `diff` (snapshot_diff), float32 or float64."""
    double = diff.dtype == np.float64
    dtype, number = (DOUBLE, DOUBLE_DIFF) if double else (FLOAT, DIFF)
    shape, field = shape_bytes(diff.shape), delimited(number, np.ascontiguousarray(diff, dtype).tobytes())
    before, after = (shape, field) if double else (b"", field + shape)
    return BlobForm(before, DOUBLE_DATA if double else DATA, dtype, after, diff.shape)


Forms = dict[str, tuple[BlobForm | None, ...]]
"""Layer name -> the form of each of its blobs, None for one with nothing beside shape and values."""


def shape_bytes(shape: tuple[int, ...]) -> bytes:
    """The field of a BlobProto that has its shape."""
    dims = b"".join(map(varint, shape))
    return delimited(SHAPE, delimited(1, dims) if dims else b"")
