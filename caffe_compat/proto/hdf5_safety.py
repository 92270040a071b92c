"""What to ask of an HDF5 data set before it is read: a small file can say that it holds more than any memory."""

from __future__ import annotations

import math
import os
from typing import Any

import h5py

DEFLATE = 1032  # times that deflate can shrink at most (zlib's technical details)
_SMALL = 1 << 20


class Allowance:
    """How many bytes of values may come out of the HDF5 file at `path`: `expansion` times its size, and 1 MiB."""

    def __init__(self, path: str | os.PathLike[str], expansion: int = DEFLATE) -> None:
        self._expansion = expansion
        self._left = _SMALL + expansion * os.path.getsize(path)

    def problem(self, dataset: Any) -> str:
        """Why the values of `dataset` must not be read; empty where they may be, and then counts as read."""
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu" or dataset.shape is None:
            return "does not hold numbers"
        if dataset.is_virtual or dataset.external:
            return "lies in another file, which no file of Caffe's does"
        stored, chunk = dataset.id.get_storage_size(), math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
        found = f"of shape {dataset.shape} should have {dataset.nbytes} bytes, {stored} are stored"
        most = max(_SMALL, stored * (self._expansion if dataset.chunks else 1))
        if dataset.nbytes > most or dataset.nbytes > self._left:
            return found
        if chunk > most:
            return f"has chunks of {chunk} bytes, {stored} are stored"
        self._left -= dataset.nbytes
        return ""
