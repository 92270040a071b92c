"""Raw Datums of one kind, checked and found where they lie: all that differs between them is pixels and label."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, bytes_at, floats_at, kernel, words_at

_LABEL, _ENCODED = 5 << 3, 7 << 3  # tags of caffe.proto's Datum, both before a varint
_MORE = 0x80  # of a varint's byte: others follow


@numba.njit(**COMPILED)
def _is(found: Any, wanted: Any, count: Any) -> Any:
    """Whether `count` bytes are the same; all are looked at, for they nearly always are."""
    differences = 0
    for i in range(count):
        differences |= bytes_at(found)[i] ^ bytes_at(wanted)[i]
    return differences == 0


@numba.njit(**COMPILED)
def _label(tail: Any, count: Any) -> Any:
    """The label, at most 28 bits of it, of a field of `count` bytes; -1 where there is another field."""
    if bytes_at(tail)[0] != _LABEL:
        return -1
    label = np.int64(0)
    for i in range(1, count):
        if (bytes_at(tail)[i] >= _MORE) != (i < count - 1):
            return -1
        label |= (np.int64(bytes_at(tail)[i]) & (_MORE - 1)) << 7 * (i - 1)
    return label


@kernel
def find(q: Any) -> None:
    """Which records, how many; where all begin and end, int64; the address of their file; the length of a record; the
    head of one, its length; where the label's field begins, its length, whether `encoded: false` follows; addresses,
    int64, and labels, float32, that are written; how many are of the kind, int64, as far as the first that is not.

    The field of the label may have no bytes: its label stays what it was then.
    """
    begins, ends = words_at(q[4]), words_at(q[5])
    for i in range(q[3]):
        number = words_at(q[2])[i]
        place = q[6] + begins[number]
        tail = place + q[10]
        if ends[number] - begins[number] != q[7] or not _is(place, q[8], q[9]):
            return
        if q[11]:
            label = _label(tail, q[11])
            if label < 0:
                return
            floats_at(q[14])[i] = label
        if q[12] and (bytes_at(tail)[q[11]] != _ENCODED or bytes_at(tail)[q[11] + 1] != 0):
            return
        words_at(q[13])[i] = place + q[9]
        words_at(q[15])[0] = i + 1
