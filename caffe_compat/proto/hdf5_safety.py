"""HDF5 files of strangers: one line for whatever is wrong, and no more unpacked than such a file can hold."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py

from caffe_compat.errors import CaffeCompatError
from caffe_compat.proto.reading import check_regular, head_or_nothing
from caffe_compat.proto.recognition import recognised

DEFLATE = 1032  # times that deflate can shrink at most (zlib's technical details)
_SMALL = 1 << 20
_HARMLESS = 1 << 26  # bytes that a chunk may unpack to without a look at it
_GZIP = 1  # number of the deflate filter in a file (H5Zpublic.h)


@contextmanager
def open_hdf5(path: str | os.PathLike[str], error: type[CaffeCompatError]) -> Iterator[h5py.File]:
    """The HDF5 file at `path`, for reading. Whatever the library meets within the block comes out as one `error`.

    A damaged file makes it raise nearly anything: OSError, RuntimeError, KeyError, ValueError, TypeError and more.
    """
    check_regular(path, error)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (CaffeCompatError, MemoryError):
        raise
    except Exception as reason:
        told = recognised(head_or_nothing(path))
        if told:
            raise error(f"{path}: {told}") from reason
        why = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        raise error(f"{path}: cannot be read as HDF5: {why}; copy or download it again") from reason


class Allowance:
    """How many bytes of values may come out of the HDF5 file at `path`: `expansion` times its size, and 1 MiB."""

    def __init__(self, path: str | os.PathLike[str], expansion: int = DEFLATE) -> None:
        self._expansion = expansion
        self._left = _SMALL + expansion * os.path.getsize(path)

    def problem(self, dataset: Any) -> str:
        """Why the values of `dataset` must not be read; empty where they may be, and then counts as read."""
        problem = self.misfit(dataset) or _unpacks_to_more(dataset)
        self._left -= 0 if problem else dataset.nbytes
        return problem

    def misfit(self, dataset: Any) -> str:
        """As `problem`, by what the file says of the data set alone; nothing is unpacked."""
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
        return ""


def _unpacks_to_more(dataset: Any) -> str:
    """What is wrong where a deflated chunk would unpack to more than the bytes that it stands for.

    The library unpacks a chunk as a whole before it compares sizes.
    """
    if not dataset.chunks or dataset.id.get_storage_size() * DEFLATE <= _HARMLESS:
        return ""
    pipeline = dataset.id.get_create_plist()
    filters = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
    if filters.count(_GZIP) > 1:
        return "is deflated more than once, which no writer of Caffe's data does"
    if not filters or filters[-1] != _GZIP:
        return ""  # another filter unpacks into the size of the chunk
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
    deflate_is_off = 1 << (len(filters) - 1)
    most = chunk + chunk // 8 + 1024  # filters before it, such as a checksum, add a little
    for number in range(dataset.id.get_num_chunks()):
        where = dataset.id.get_chunk_info(number)
        if where.filter_mask & deflate_is_off or where.size * DEFLATE <= _HARMLESS:
            continue
        packed = dataset.id.read_direct_chunk(where.chunk_offset)[1]
        if len(zlib.decompressobj().decompress(packed, most + 1)) > most:
            return f"has chunks of {chunk} bytes, one unpacks to more"
    return ""
