"""Caffe's Datum records: from their bytes to arrays and back, without a message object per record.

A Datum is `channels`, `height`, `width`, `data` (uint8, channel by channel; or a whole encoded image file), `label`,
`float_data` and `encoded` (caffe.proto). Reading the fields straight from the wire keeps pixels in the database's own
memory until the batch is put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from caffe_compat.errors import DataError

Bytes: TypeAlias = "bytes | memoryview"

_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOAT_DATA, _ENCODED = range(1, 8)
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
ENCODED_FALSE = bytes((_ENCODED << 3, 0))
LABEL_BYTES = range(2, 6)  # of a field of a label that is read many at a time: 28 bits at most


@dataclass(frozen=True, slots=True)
class Datum:
    """One record; `data` is a view of the bytes it was read from."""

    shape: tuple[int, int, int]  # channels, height, width; zeros where an encoded record leaves them out
    data: Bytes
    label: int
    float_data: np.ndarray | None
    encoded: bool
    offset: int = 0  # where `data` starts in the record

    def array(self) -> np.ndarray:
        """The values of a record that is not encoded: (channels, height, width), uint8, or float32 from float_data."""
        size = self.shape[0] * self.shape[1] * self.shape[2]
        values = np.frombuffer(self.data, np.uint8) if len(self.data) or self.float_data is None else self.float_data
        if values.size != size or not size:
            raise ValueError(f"holds {values.size} values, but channels, height and width are {self.shape}")
        return values.reshape(self.shape)


def parse_datum(record: Bytes) -> Datum:
    """The Datum that `record` holds; ValueError says what is damaged."""
    ints = [0] * 8
    data: Bytes = b""
    floats: np.ndarray | None = None
    position, offset, end = 0, 0, len(record)
    try:
        while position < end:
            tag, position = _varint(record, position)
            field, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, position = _varint(record, position)
                if field < 8:
                    ints[field] = value
            elif kind == _LENGTH:
                length, position = _varint(record, position)
                if position + length > end:
                    raise ValueError(f"field {field} has {length} bytes, {end - position} are left")
                if field == _DATA:
                    data, offset = record[position : position + length], position
                elif field == _FLOAT_DATA:
                    floats = _joined(floats, np.frombuffer(record[position : position + length], "<f4"))
                position += length
            elif kind == _FIXED32 and field == _FLOAT_DATA:
                run = _float_run(record, position - 1)
                floats = _joined(floats, run)
                position += 5 * len(run) - 1
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
            else:
                raise ValueError(f"wire type {kind} at byte {position - 1}")
    except IndexError:
        raise ValueError("ends within a field") from None
    label = ints[_LABEL] & 0xFFFFFFFF
    return Datum(
        (ints[_CHANNELS], ints[_HEIGHT], ints[_WIDTH]),
        data,
        label - (1 << 32) if label >> 31 else label,
        floats,
        bool(ints[_ENCODED]),
        offset,
    )


def parse_alike(records: Sequence[Bytes] | np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Images (records, channels, height, width), uint8, and labels, float32, of raw records of one kind.

    records: or the rows of an array, uint8 (records, bytes). None where they differ in more than pixels and label; then
    each must be parsed by itself. This is the whole batch at once: the fields before and after the pixels are compared
    as columns.
    """
    first, length = parse_datum(memoryview(records[0])), len(records[0])
    size = len(first.data)
    if first.encoded or not size or size != first.shape[0] * first.shape[1] * first.shape[2]:
        return None
    if isinstance(records, np.ndarray):
        rows = records
    elif set(map(len, records)) == {length}:
        rows = np.frombuffer(b"".join(records), np.uint8).reshape(-1, length)
    else:
        return None
    head, tail = rows[:, : first.offset], rows[:, first.offset + size :]
    if not (head == head[0]).all():
        return None
    labels = _tail_labels(tail) if tail.size else np.full(len(rows), first.label, np.float32)
    if labels is None:
        return None
    return rows[:, first.offset : first.offset + size].reshape(-1, *first.shape), labels


def _tail_labels(tail: np.ndarray) -> np.ndarray | None:
    """The labels, float32, of the fields after the pixels: `label`, perhaps an `encoded: false`; None for others."""
    if tail.shape[1] > len(ENCODED_FALSE) and (tail[:, -2:] == tuple(ENCODED_FALSE)).all():
        tail = tail[:, :-2]
    number = tail[:, 1:]
    if number.shape[1] == 1 and (tail[:, 0] == _LABEL << 3).all() and number.max() < 0x80:
        return number[:, 0].astype(np.float32)
    if tail.shape[1] not in LABEL_BYTES or (tail[:, 0] != _LABEL << 3).any():
        return None
    if (number[:, :-1] < 0x80).any() or (number[:, -1] >= 0x80).any():
        return None
    sevens = (number & 0x7F).astype(np.int64)
    labels: np.ndarray = (sevens << 7 * np.arange(number.shape[1])).sum(axis=1).astype(np.float32)
    return labels


def encode_datum(array: np.ndarray, label: int | None) -> bytes:
    """A Datum of a (channels, height, width) array: uint8 goes to `data`, anything else to `float_data`.

    `label` None leaves that field out.
    """
    tail = b"" if label is None else _field(_LABEL, label)
    head = b"".join(_field(field, size) for field, size in zip((_CHANNELS, _HEIGHT, _WIDTH), array.shape, strict=True))
    if array.dtype == np.uint8:
        return head + _data_field(array.tobytes()) + tail
    run = np.empty(array.size, [("tag", "u1"), ("value", "<f4")])
    run["tag"], run["value"] = _FLOAT_DATA << 3 | _FIXED32, array.ravel()
    return head + tail + run.tobytes()


def encode_image_file(content: bytes, label: int) -> bytes:
    """A Datum that holds an image file as it is, as convert_imageset --encoded writes it."""
    return _data_field(content) + _field(_LABEL, label) + _field(_ENCODED, 1)


def describe(datum: Datum) -> str:
    """What kind of record it is, for people."""
    if datum.encoded:
        return f"encoded image of {len(datum.data)} bytes"
    return f"{'uint8' if len(datum.data) else 'float'} {datum.shape}"


def corrupt(source: str, record: int, reason: object) -> DataError:
    """The error for record number `record` of `source`."""
    return DataError(f"{source}: record {record} is damaged: {reason}")


def _varint(record: Bytes, position: int) -> tuple[int, int]:
    byte = record[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value, shift = byte & 0x7F, 7
    while True:
        byte = record[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 10 bytes at byte {position}")


def _float_run(record: Bytes, start: int) -> np.ndarray:
    """The float_data values stored one field after another from byte `start`, as float32."""
    count = (len(record) - start) // 5
    if not count:
        raise IndexError
    run = np.frombuffer(record, [("tag", "u1"), ("value", "<f4")], count, start)
    others = np.flatnonzero(run["tag"] != _FLOAT_DATA << 3 | _FIXED32)
    return np.asarray(run["value"][: others[0] if len(others) else count], np.float32)


def _joined(first: np.ndarray | None, second: np.ndarray) -> np.ndarray:
    return second if first is None else np.concatenate([first, second])


def _field(field: int, value: int) -> bytes:
    return _encoded_varint(field << 3) + _encoded_varint(value & 0xFFFFFFFFFFFFFFFF)


def _data_field(content: bytes) -> bytes:
    return _encoded_varint(_DATA << 3 | _LENGTH) + _encoded_varint(len(content)) + content


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
