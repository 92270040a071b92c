"""Protobuf's wire format, walked without decoding: where each field of a message lies in a file.

Caffe's binary files are almost wholly blob data. Walking finds that data by its offsets, so that it is read straight
into arrays, and every length is held against the file before anything is allocated.
Wire format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
import os
from typing import NamedTuple

import numpy as np

from caffe_compat.errors import ParseError

VARINT, FIXED64, BYTES, START_GROUP, FIXED32 = 0, 1, 2, 3, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}
_MOST_FIELDS = 300_000
_NO_FIELD = "no protobuf field starts here; the file is damaged, or not one that Caffe wrote"


class Field(NamedTuple):
    """A field of a message: its number and wire type, where its tag starts, where its value starts and ends."""

    number: int
    wire: int
    tag: int
    start: int
    end: int


class Walker:
    """Reads the fields of the messages in `data`, the content of the file `path`."""

    def __init__(self, data: bytes | mmap.mmap, path: str | os.PathLike[str] = "<bytes>") -> None:
        self.data = data
        self.path = os.fspath(path)
        self._fields = 0

    def error(self, offset: int, message: str) -> ParseError:
        """`message` with the file and the byte before it."""
        return ParseError(f"{self.path}: byte {offset}: {message}")

    def field(self, offset: int, end: int) -> Field:
        """The field whose tag is at `offset`, in a message that ends at `end`."""
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise self.error(offset, f"more than {_MOST_FIELDS} fields: this is no file of Caffe's")
        tag, start = self.data[offset], offset + 1
        if tag >= 0x80 or start > end:
            tag, start = self.varint(offset, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise self.error(offset, _NO_FIELD)
        if wire == BYTES:
            length, start = self.varint(start, end)
            stop = start + length
        elif wire == VARINT:
            stop = self.varint(start, end)[1]
        elif wire in _WIDTH:
            stop = start + _WIDTH[wire]
        elif wire == START_GROUP:
            raise self.error(offset, f"field {number} is a group, which no file of Caffe's has")
        else:
            raise self.error(offset, _NO_FIELD)
        if stop > end:
            raise self.error(offset, self._too_long(number, stop - start, end - start))
        return Field(number, wire, offset, start, stop)

    def fields(self, start: int, end: int) -> list[Field]:
        """All fields of the message between `start` and `end`."""
        found = []
        while start < end:
            field = self.field(start, end)
            found.append(field)
            start = field.end
        return found

    def varint(self, offset: int, end: int) -> tuple[int, int]:
        """The variable-length number at `offset`, and the offset behind it."""
        if offset < end and self.data[offset] < 0x80:
            return self.data[offset], offset + 1
        value = shift = 0
        for place in range(offset, min(offset + 10, end)):
            byte = self.data[place]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place + 1
            shift += 7
        if end - offset < 10:
            raise self.error(offset, "the file ends inside a number; it is cut short, copy or download it again")
        raise self.error(offset, "a number has more than 10 bytes; the file is damaged, copy or download it again")

    def signed(self, offset: int, end: int) -> int:
        """The variable-length number at `offset` as an int64."""
        value = self.varint(offset, end)[0]
        return value - (1 << 64) if value >= 1 << 63 else value

    def run(self, field: Field, end: int) -> int:
        """How many fields of the same tag and width follow one another from `field` on, itself included."""
        width, size = field.start - field.tag, field.end - field.tag
        known = self.bytes_at(field.tag, (end - field.tag) // size * size)
        same = (known.reshape(-1, size)[:, :width] == known[:width]).all(axis=1)
        return int(same.argmin()) if not same.all() else len(same)

    def bytes_at(self, offset: int, count: int) -> np.ndarray:
        """`count` bytes from `offset` on as uint8, uncopied."""
        return np.frombuffer(self.data, np.uint8, count, offset)

    def _too_long(self, number: int, wanted: int, found: int) -> str:
        return (
            f"field {number} says {wanted} bytes, {found} are left; "
            "the file is cut short or damaged, copy or download it again"
        )


def varint(value: int) -> bytes:
    """`value` as a variable-length number; a negative one as its 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire: int) -> bytes:
    """The bytes that open a field."""
    return varint(number << 3 | wire)


def delimited(number: int, value: bytes) -> bytes:
    """A whole field of bytes: tag, length, value."""
    return tag(number, BYTES) + varint(len(value)) + value
