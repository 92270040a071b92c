"""NumPy's files, .npy and .npz, from outside: no pickles, and no more is unpacked than such a file can hold."""

from __future__ import annotations

import io
import math
import os
import zipfile
from typing import BinaryIO

import numpy as np

from caffe_compat.errors import CaffeCompatError, DataError
from caffe_compat.proto.reading import open_file, slashes_hint

_EXPANSION = 256  # times that the arrays of an .npz may be larger than the file; those that are not zeros shrink little
_SMALL = 1 << 26
_NUMBERS = "biuf"
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the ways of NumPy; others may ask for gigabytes to unpack by
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4}  # of the header's length
_HEADER = 10_000  # bytes, NumPy's own bound, which it looks at only after it has read them


def read_npz(path: str | os.PathLike[str], error: type[CaffeCompatError] = DataError) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. Raises `error` for anything else, and for arrays of other than numbers."""
    try:
        with open_file(path) as file:
            if not zipfile.is_zipfile(file):
                raise error(f"{path}: is no .npz file of arrays; np.savez makes one")
            file.seek(0)
            left = _SMALL + _EXPANSION * os.fstat(file.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
                if any(member.compress_type not in _PACKED for member in members):
                    raise error(f"{path}: is packed in another way than NumPy packs; write it by np.savez")
                if sum(member.file_size for member in members) > left:
                    raise error(f"{path}: its arrays would take more than {left} bytes, too many for such a file")
                return {member.filename[:-4]: _member(archive, member) for member in members}
    except (CaffeCompatError, MemoryError):
        raise
    except Exception as reason:  # zipfile, zlib, lzma and numpy each have errors of their own
        raise error(f"{path}: cannot be read as an .npz file of arrays: {_why(reason)}{slashes_hint(path)}") from reason


def read_npy(path: str | os.PathLike[str], error: type[CaffeCompatError] = DataError) -> np.ndarray:
    """The array in a .npy file. Raises `error` for anything else, and for an array of other than numbers."""
    try:
        with open_file(path) as file:
            return _array(file, os.fstat(file.fileno()).st_size)
    except MemoryError:
        raise
    except Exception as reason:
        raise error(f"{path}: cannot be read as a .npy file: {_why(reason)}{slashes_hint(path)}") from reason


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        try:
            return _array(file, member.file_size)  # type: ignore[arg-type]
        except ValueError as reason:
            raise ValueError(f"{member.filename}: {reason}") from reason


def _array(file: BinaryIO, size: int) -> np.ndarray:
    """The array that `file`, of `size` bytes, holds: numpy believes the shape in the header, so it is checked first."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of the format is not read here")
    length = file.read(_LENGTH_BYTES[version])
    said = int.from_bytes(length, "little")
    if said > _HEADER:
        raise ValueError(f"it says that its header has {said} bytes, {_HEADER} at most are read")
    try:
        shape, is_fortran, dtype = read_header[version](io.BytesIO(length + file.read(said)))
    except (MemoryError, RecursionError):  # which Python's parser ends with, however much memory there is
        raise ValueError("its header is nested too deeply") from None
    if dtype.kind not in _NUMBERS:
        raise ValueError(f"it holds {dtype}, not numbers")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise ValueError(f"its header says {dtype} {shape}, and the file has {size} bytes")
    values = np.empty(count, dtype)
    if file.readinto(values.view(np.uint8)) != values.nbytes:  # type: ignore[attr-defined]
        raise ValueError("it is cut short")
    return values.reshape(shape[::-1]).T if is_fortran else values.reshape(shape)


def _why(reason: Exception) -> str:
    known = reason.strerror if isinstance(reason, OSError) else None
    return known or str(reason) or type(reason).__name__
