"""Blobs: BlobProto <-> array, the data found by offset in a file, and shapes from when a blob always had four axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from caffe_compat.errors import ParseError
from caffe_compat.proto.forms import (
    DATA,
    DOUBLE,
    DOUBLE_DATA,
    FLOAT,
    RAW_DATA,
    RAW_TYPE,
    SHAPE,
    BlobForm,
    shape_bytes,
)
from caffe_compat.proto.schema import BlobProto
from caffe_compat.proto.wire import BYTES, VARINT, Field, Walker, tag, varint

Weights = dict[str, tuple[np.ndarray, ...]]
"""Layer name -> its blobs, in Caffe's order and shapes. Float32; float64 where the file has double_data."""

_PLAIN = frozenset({DATA, SHAPE, DOUBLE_DATA})  # the fields of a blob as Caffe 1.0 writes it without diff
# The values of raw_data_type in NVIDIA's fork (its caffe.proto, enum Type)
_RAW_TYPES: dict[int, np.dtype[Any]] = {
    0: DOUBLE, 1: FLOAT, 2: np.dtype("<f2"), 3: np.dtype("<i4"), 4: np.dtype("<u4"), 5: np.dtype("u1")
}  # fmt: skip

_MOST_VALUES = 2**31 - 1  # of a blob (blob.cpp, Reshape)

# Axes of each blob, by layer type, of the types that had weights when every blob had four axes
_AXES = {
    "Convolution": (4, 1), "Deconvolution": (4, 1), "InnerProduct": (2, 1), "Embed": (2, 1),
    "BatchNorm": (1, 1, 1), "Scale": (1, 1), "Bias": (1,), "PReLU": (1,),
}  # fmt: skip


def blob_to_array(blob: Any) -> np.ndarray:
    """The data of a BlobProto in its shape: float32, or float64 where it is `double_data`.

    Raises ParseError where the number of values is not what the shape asks for.
    """
    double = len(blob.double_data) > 0
    values = np.array(blob.double_data if double else blob.data, dtype=np.float64 if double else np.float32)
    old = [blob.HasField(name) for name in ("num", "channels", "height", "width")]
    shape = (blob.num, blob.channels, blob.height, blob.width) if any(old) else tuple(blob.shape.dim)
    problem = shape_problem(shape, values.size)
    if problem:
        raise ParseError(problem)
    return values.reshape(shape)


def array_to_blob(array: np.ndarray) -> Any:
    """A BlobProto with `shape` and `data`, or `double_data` for a float64 array."""
    return BlobProto.FromString(b"".join(blob_bytes(np.asarray(array))))


def shape_problem(shape: tuple[int, ...], count: int) -> str:
    """What is wrong with a blob of `shape` that has `count` values; empty where nothing is."""
    if min(shape, default=0) < 0:
        return f"the blob has a negative axis in its shape {shape}"
    if math.prod(axis or 1 for axis in shape) > _MOST_VALUES:
        return f"the blob of shape {shape} is larger than Caffe takes: {_MOST_VALUES} values; it has {count}"
    if math.prod(shape) != count:
        return f"the blob of shape {shape} wants {math.prod(shape)} values and has {count}"
    return ""


def current_shape(layer_type: str, index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that Caffe gives today to blob `index` of a layer, from its four old dimensions.

    The old shapes are the new ones with 1s in front: (1, 1, 500, 800) are the weights (500, 800) of an InnerProduct.
    Shapes of types that were not there then come back unchanged.
    """
    axes = _AXES.get(layer_type, ())
    keep = axes[index] if index < len(axes) else 4
    front = shape[: 4 - keep]
    return shape[4 - keep :] if all(axis == 1 for axis in front) else shape


@dataclass
class StoredBlob:
    """A blob in a file: its shape, whether by the four old dimensions, and the stretches that hold its values.

    extras: the other fields, where there are any beside a shape: number, offset of the tag, end.
    """

    shape: tuple[int, ...]
    old_shape: bool
    dtype: np.dtype[Any]
    stretches: list[tuple[int, int, int]]  # offset of the first value, number of values, bytes from one to the next
    extras: list[tuple[int, int, int]]

    def form(self, walker: Walker, shape: tuple[int, ...]) -> BlobForm | None:
        """What the file says of the blob beside its shape and values, of which an array of `shape` is made."""
        if all(number in _PLAIN for number, _, _ in self.extras):
            return None
        kinds = {FLOAT: DATA, DOUBLE: DOUBLE_DATA}
        raw = any(number == RAW_DATA for number, _, _ in self.extras)
        field = RAW_DATA if raw else kinds[self.dtype]
        parts = [(number, bytes(walker.data[at:end])) for number, at, end in self.extras if number != RAW_DATA]
        before = b"".join(data for number, data in parts if number < field)
        after = b"".join(data for number, data in parts if number > field)
        return BlobForm(before, field, self.dtype, after, shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values as the file has them."""
        return sum(count for _, count, _ in self.stretches) * self.dtype.itemsize

    def read(self, file: BinaryIO, walker: Walker, memory: Memory | None = None) -> np.ndarray:
        """The values, copied once, from the page cache into the array; `memory` gives it its place."""
        nbytes = self.nbytes
        array = (memory.take(nbytes) if memory else np.empty(nbytes, np.uint8)).view(self.dtype)
        done = 0
        for offset, count, step in self.stretches:
            part = array[done : done + count]
            if step == self.dtype.itemsize:
                _read_into(file, offset, part)
            else:
                spread = walker.bytes_at(offset, step * (count - 1) + self.dtype.itemsize)
                padded = np.lib.stride_tricks.as_strided(spread, (count, self.dtype.itemsize), (step, 1))
                part[:] = np.ascontiguousarray(padded).view(self.dtype)[:, 0]
            done += count
        if array.dtype not in (FLOAT, DOUBLE):
            array = array.astype(np.float32)
        return array.reshape(self.shape)


class Memory:
    """Memory for the blobs of one file, in pieces large enough for huge pages.

    In small ones the kernel clears every page by itself, which takes longer than reading. A piece lives as long as any
    blob in it.
    """

    _PIECE, _ALIGNMENT = 32 << 20, 64

    def __init__(self, nbytes: int) -> None:
        self._left, self._piece = nbytes, np.empty(0, np.uint8)

    def take(self, nbytes: int) -> np.ndarray:
        """`nbytes` bytes, uint8, unset."""
        rounded = nbytes + -nbytes % self._ALIGNMENT
        if rounded > self._piece.size:
            piece = np.empty(max(rounded, min(self._left, self._PIECE)) + self._ALIGNMENT, np.uint8)
            self._piece = piece[-piece.ctypes.data % self._ALIGNMENT :]
        taken, self._piece = self._piece[:nbytes], self._piece[rounded:]
        self._left -= rounded
        return taken


def _read_into(file: BinaryIO, offset: int, array: np.ndarray) -> None:
    if not array.size:
        return
    view = array.data.cast("B")
    file.seek(offset)
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise ParseError(f"{file.name}: byte {offset + done}: the file became shorter while it was read")
        done += count


def find_blob(walker: Walker, start: int, end: int) -> StoredBlob:
    """The blob whose BlobProto lies between `start` and `end`. Raises ParseError where shape and data disagree."""
    old: dict[int, int] = {}
    dims: list[int] = []
    values: dict[int, list[tuple[int, int, int]]] = {DATA: [], DOUBLE_DATA: [], RAW_DATA: []}
    extras: list[tuple[int, int, int]] = []
    raw_type, offset = 1, start
    while offset < end:
        field = walker.field(offset, end)
        offset = field.end
        if field.number not in (DATA, DOUBLE_DATA):
            extras.append((field.number, field.tag, field.end))
        if field.number <= 4 and field.wire == VARINT:
            old[field.number] = walker.signed(field.start, end)
        elif field.number in (DATA, DOUBLE_DATA):
            offset = _add_values(walker, field, end, values[field.number])
        elif field.number == SHAPE and field.wire == BYTES:
            dims += _dims(walker, field)
        elif field.number == RAW_TYPE and field.wire == VARINT:
            raw_type = walker.varint(field.start, end)[0]
        elif field.number == RAW_DATA and field.wire == BYTES:
            values[RAW_DATA] = [(field.start, field.end - field.start, 1)]
        elif field.wire not in (BYTES, VARINT):  # unpacked diffs
            offset = field.tag + walker.run(field, end) * (field.end - field.tag)
            extras[-1] = (field.number, field.tag, offset)
    shape = tuple(old.get(number, 0) for number in (1, 2, 3, 4)) if old else tuple(dims)
    blob = StoredBlob(shape, bool(old), *_layout(walker, start, values, raw_type), extras)
    problem = shape_problem(shape, sum(count for _, count, _ in blob.stretches))
    if problem:
        raise walker.error(start, f"{problem}; the file is damaged, copy or download it again")
    return blob


def _layout(
    walker: Walker, start: int, values: dict[int, list[tuple[int, int, int]]], raw_type: int
) -> tuple[np.dtype[Any], list[tuple[int, int, int]]]:
    """The type of the values, and the stretches they lie in; Caffe prefers double_data where both are there."""
    if values[DOUBLE_DATA]:
        return DOUBLE, values[DOUBLE_DATA]
    if values[DATA] or not values[RAW_DATA]:
        return FLOAT, values[DATA]
    if raw_type not in _RAW_TYPES:
        raise walker.error(start, f"raw_data of unknown type {raw_type}; known: 0 to 5, as in NVIDIA's fork")
    dtype = _RAW_TYPES[raw_type]
    offset, size, _ = values[RAW_DATA][0]
    if size % dtype.itemsize:
        raise walker.error(offset, f"raw_data has {size} bytes, not a multiple of {dtype.itemsize}")
    return dtype, [(offset, size // dtype.itemsize, dtype.itemsize)]


def _add_values(walker: Walker, field: Field, end: int, stretches: list[tuple[int, int, int]]) -> int:
    """Note where the values of a data field lie, packed or one tag each; gives the offset behind them."""
    width = 4 if field.number == DATA else 8
    size = field.end - field.start
    if field.wire == BYTES:
        if size % width:
            raise walker.error(field.tag, f"blob data has {size} bytes, not a multiple of {width}; the file is damaged")
        if size:
            stretches.append((field.start, size // width, width))
        return field.end
    if size != width or field.wire == VARINT:
        raise walker.error(field.tag, "blob data of a wrong type; the file is damaged, copy or download it again")
    count, step = walker.run(field, end), field.end - field.tag
    stretches.append((field.start, count, step))
    return field.tag + count * step


def _dims(walker: Walker, shape: Field) -> list[int]:
    dims = []
    for field in walker.fields(shape.start, shape.end):
        if field.number != 1 or field.wire not in (VARINT, BYTES):
            continue
        offset = field.start
        while offset < field.end:
            dims.append(walker.signed(offset, field.end))
            offset = walker.varint(offset, field.end)[1]
            if len(dims) > 32:
                raise walker.error(shape.tag, "the blob has more than Caffe's 32 axes; the file is damaged")
    return dims


def blob_bytes(array: np.ndarray) -> list[bytes | memoryview]:
    """The BlobProto of `array` in pieces, its data uncopied; fields in Caffe's order."""
    double = array.dtype == np.float64
    data = np.ascontiguousarray(array, DOUBLE if double else FLOAT)
    shape = shape_bytes(array.shape)
    if not data.size:
        return [shape]
    head = tag(DOUBLE_DATA if double else DATA, BYTES) + varint(data.nbytes)
    values = data.reshape(-1).data.cast("B")
    return [shape, head, values] if double else [head, values, shape]
