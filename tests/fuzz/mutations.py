"""Damage to files: what chance, disks, editors and enemies do to bytes, lines, JSON and protobuf messages."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable
from typing import Any

Mutate = Callable[[random.Random, bytes, "list[bytes]"], bytes]

_ODD_WORDS = (
    b"-1", b"", b"nan", b"inf", b"1e999", b"9" * 30, b"9" * 5000, b"1.5", b"0x10", b"010", b"1_0", b"-0", b"abc",
    "\u0663".encode(), b"\xff", b"\0", b"\x1b[2J", b"#", b"=", b",", "\u2028".encode(), b"\r", b'"', b"{", b"}", b"-",
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**400, 2**63, "", "x", "nan", "\u202e", "9" * 5000,
    [], {}, [1], [[1, 2]], {"mean": 1}, {"a": None}, [None], "1e5", json.loads("[" * 600 + "]" * 600),
    json.loads('{"a":' * 600 + "1" + "}" * 600),
)  # fmt: skip
_WHOLE_JSON = (
    b"", b" ", b"null", b"1", b'"x"', b"[]", b"{}", b"nan", b"1e999", b"9" * 6000, b"\xff\xfe{", b"\xef\xbb\xbf{}",
    b"{} {}", b"[1,2", b"true", b"[" * 900 + b"]" * 900, b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000,
)  # fmt: skip


def bytes_of(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """Bits flipped, stretches cut out, doubled, exchanged, zeroed, spliced in from another file, extreme numbers."""
    content = bytearray(data) or bytearray(b"\0")
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        size = len(content)
        at = chance.randrange(size) if chance.random() < 0.6 else chance.randrange(min(size, 300))
        end = min(size, at + chance.choice((1, 2, 4, 8, 64, 512, 4096)))
        chance.choice(_BYTE_CHANGES)(chance, content, at, end, pool)
        content = content or bytearray(b"\0")
    return bytes(content)


def _flip(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    content[at] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    content[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def _cut_off(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    del content[at:]


def _cut_out(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    del content[at:end]


def _repeat(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    content[at:at] = content[at:end] * chance.choice((1, 2, 50))


def _splice(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    other = chance.choice(pool)
    start = chance.randrange(len(other) or 1)
    content[at:end] = other[start : start + chance.choice((1, 8, 64, 1024))]


def _zero(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    content[at:end] = bytes(end - at)


def _number(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    width = chance.choice((1, 2, 4, 8))
    top = 1 << 8 * width
    value = chance.choice((0, 1, top // 2 - 1, top // 2, top - 1, len(content) % top, chance.randrange(top)))
    content[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))


def _exchange(chance: random.Random, content: bytearray, at: int, end: int, pool: list[bytes]) -> None:
    other = chance.randrange(len(content))
    first, second = content[at:end], content[other : other + end - at]
    content[at:end], content[other : other + end - at] = second, first


_BYTE_CHANGES = (_flip, _flip, _flip, _set, _cut_off, _cut_out, _repeat, _splice, _zero, _number, _number, _exchange)


def lines(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """Words and numbers made odd, lines dropped, doubled, exchanged, cut, glued; now and then any bytes."""
    if chance.random() < 0.2:
        return bytes_of(chance, data, pool)
    found = data.split(b"\n")
    for _ in range(chance.choice((1, 1, 2, 4))):
        i, j = chance.randrange(len(found)), chance.randrange(len(found))
        change = chance.randrange(6)
        if change == 0:
            found[i] = _with_odd_word(chance, found[i])
        elif change == 1:
            found.insert(i, found[j])
        elif change == 2:
            found[i : i + 1] = [] if len(found) > 1 else [b""]
        elif change == 3:
            found[i] = found[i][: chance.randrange(len(found[i]) + 1)]
        elif change == 4:
            words = found[i].split(b" ")
            chance.shuffle(words)
            found[i] = b" ".join(words)
        else:
            found[i], found[j] = found[j], found[i]
    return b"\n".join(found)


def _with_odd_word(chance: random.Random, line: bytes) -> bytes:
    words = list(re.finditer(rb"[\w.+-]+|[^\w\s]", line))
    odd = chance.choice(_ODD_WORDS)
    if not words:
        return odd
    word = chance.choice(words)
    return line[: word.start()] + odd + line[word.end() :]


def json_of(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """Values of other types and sizes in places of a JSON value, keys gone or added; or no JSON at all."""
    roll = chance.random()
    if roll < 0.25:
        return bytes_of(chance, data, pool)
    if roll < 0.32:
        return chance.choice(_WHOLE_JSON)
    try:
        return _other_values(chance, json.loads(data))
    except (ValueError, RecursionError):
        return bytes_of(chance, data, pool)


def _other_values(chance: random.Random, value: Any) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 4))):
        places = _places(value)
        if not places:
            value = chance.choice(_ODD_VALUES)
            break
        parent, key = chance.choice(places)
        change = chance.randrange(4)
        if change == 0 and isinstance(parent, dict):
            del parent[key]
        elif change == 1 and isinstance(parent, dict):
            parent[chance.choice(("x", "", "\0", "a" * 1000, "event", "value"))] = chance.choice(_ODD_VALUES)
        else:
            parent[key] = chance.choice(_ODD_VALUES)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def json_lines(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """One line of JSON or several damaged as JSON, or the whole as lines."""
    if chance.random() < 0.2:
        return lines(chance, data, pool)
    found = data.split(b"\n")
    for _ in range(chance.choice((1, 2, 3))):
        i = chance.randrange(len(found))
        found[i] = json_of(chance, found[i] or b"{}", pool)
    return b"\n".join(found)


def message(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """Fields of a protobuf message dropped, doubled, exchanged, renumbered or damaged, at any depth, lengths mended."""
    if chance.random() < 0.4:
        return bytes_of(chance, data, pool)
    fields = _fields(data)
    if not fields:
        return bytes_of(chance, data, pool)
    i, j = chance.randrange(len(fields)), chance.randrange(len(fields))
    number, wire, value = fields[i]
    change = chance.randrange(8)
    if change >= 4 and wire == 2:
        inner = message if change < 7 and _fields(value) else bytes_of
        fields[i] = number, wire, inner(chance, value, pool)
    elif change == 0:
        fields[i] = chance.choice((number + 1, 1, 7, 100, 147, 1 << 28, 12)), wire, value
    elif change == 1:
        fields.insert(i, fields[j])
    elif change == 2:
        del fields[i]
    elif wire == 0:
        fields[i] = (
            number,
            0,
            _varint(chance.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, chance.getrandbits(20)))),
        )
    else:
        fields[i], fields[j] = fields[j], fields[i]
    return b"".join(_varint(number << 3 | wire) + (_varint(len(value)) if wire == 2 else b"") + value
                    for number, wire, value in fields)  # fmt: skip


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """(number, wire type, value) of the fields of a message; none where it is no message."""
    found, at = [], 0
    try:
        while at < len(data):
            tag, at = _read_varint(data, at)
            number, wire = tag >> 3, tag & 7
            if wire == 2:
                size, at = _read_varint(data, at)
            elif wire == 0:
                size = _read_varint(data, at)[1] - at
            else:
                size = {1: 8, 5: 4}[wire]
            if not number or at + size > len(data):
                return []
            found.append((number, wire, data[at : at + size]))
            at += size
    except (IndexError, KeyError):
        return []
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def rest_of(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """Bytes behind the first line."""
    head, _, rest = data.partition(b"\n")
    return head + b"\n" + bytes_of(chance, rest, [each.partition(b"\n")[2] for each in pool])


def sidecar(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """A side-car, a line of JSON and arrays behind it: either damaged, mostly with checksums that fit what it holds."""
    text, _, arrays = data.partition(b"\n")
    if chance.random() < 0.25:
        arrays = bytes_of(chance, arrays, pool)
    else:
        text = json_of(chance, text, pool).replace(b"\n", b" ")
    if chance.random() < 0.8:
        text = _mended(text, arrays)
    return text + b"\n" + arrays


def _mended(text: bytes, arrays: bytes) -> bytes:
    """The side-car with the checksums of what it holds now; as it is where it is none."""
    try:
        facts = json.loads(text)
        facts["checksums"]["arrays"] = zlib.crc32(arrays)
        facts["checksums"].pop("sidecar", None)
        facts["checksums"]["sidecar"] = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
        return json.dumps(facts).encode()
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return text


def headed_json(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    """A length of eight bytes, that much JSON, and bytes: the JSON damaged and the length mended, or any bytes."""
    if chance.random() < 0.4:
        return bytes_of(chance, data, pool)
    size = int.from_bytes(data[:8], "little")
    head = json_of(chance, data[8 : 8 + size], pool)
    return len(head).to_bytes(8, "little") + head + data[8 + size :]
