"""Numbers inside messages that forks use for different fields: 19 of ConvolutionParameter is NVIDIA's way to search
algorithms, Intel's fused ReLU, OpenPose's `binary`.

Wire type first: where only one meaning fits what a file has, it is that. Else the field is parked, and when the whole
net is read it gets the meaning it has in the forks that explain most of the rest of it; Caffe's own where nothing
speaks for a fork. What then still has several meanings stays parked: kept, written back, and told by `undecided`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

from caffe_compat.proto.forks import added_fields, order
from caffe_compat.proto.schema import fields_of, is_repeated
from caffe_compat.proto.wire import BYTES, FIXED32, FIXED64, VARINT, Field, Walker, delimited, tag

PARKED = 1 << 28
WIRE = {
    FieldDescriptor.CPPTYPE_MESSAGE: BYTES, FieldDescriptor.CPPTYPE_STRING: BYTES, FieldDescriptor.CPPTYPE_BOOL: VARINT,
    FieldDescriptor.CPPTYPE_ENUM: VARINT, FieldDescriptor.CPPTYPE_INT32: VARINT, FieldDescriptor.CPPTYPE_UINT32: VARINT,
    FieldDescriptor.CPPTYPE_INT64: VARINT, FieldDescriptor.CPPTYPE_UINT64: VARINT,
    FieldDescriptor.CPPTYPE_FLOAT: FIXED32, FieldDescriptor.CPPTYPE_DOUBLE: FIXED64,
}  # fmt: skip
# Told apart elsewhere: by a layer's type, by who wrote multipliers, in blobs. Solvers and data are no part of a net
_ELSEWHERE = ("LayerParameter", "V1LayerParameter", "ParamSpec", "BlobProto", "SolverParameter", "Datum")


class Meaning(NamedTuple):
    """What a number stands for: our field, and the forks in which it does; none for a field of Caffe 1.0."""

    name: str
    number: int
    wire: int
    is_bool: bool
    forks: tuple[str, ...]

    def fits(self, wire: int, value: int) -> bool:
        """Whether a field of this wire type and, of a varint, value can be this."""
        return self.wire == wire and not (self.is_bool and value > 1)


def read_message(walker: Walker, start: int, end: int, message: str) -> tuple[bytes | None, bool]:
    """The bytes of a `message` under our numbers, and whether a field is parked; None where all is right as it stands.

    message: its name in the schema, as in "PoolingParameter"; its bytes lie between `start` and `end`.
    """
    pattern = _pattern(message)
    if pattern is None or not pattern.search(walker.data, start, end):
        return None, False
    pieces, changed, parked = [], False, False
    for part in walker.fields(start, end):
        new, waits = _read_field(walker, part, message)
        pieces.append(walker.data[part.tag : part.end] if new is None else new)
        changed, parked = changed or new is not None, parked or waits
    return (b"".join(pieces) if changed else None), parked


def settle(net: Any, votes: Counter[str]) -> None:
    """Give the parked fields of `net` their meaning in the forks that have most `votes`."""
    _settle(net, leaders(votes))


def leaders(votes: Counter[str]) -> frozenset[str]:
    """The forks with most votes."""
    most = max(votes.values(), default=0)
    return frozenset(fork for fork, count in votes.items() if count == most)


def is_certain(message: str, name: str) -> bool:
    """Whether a field that only forks have is told by number and wire type alone, and so speaks for a fork."""
    field = _fields(message)[name]
    numbers = set(added_fields().get(message, {}).get(name, {}).values())
    return all(len(_fitting(message, number, WIRE[field.cpp_type], 0)) < 2 for number in numbers)


def written_message(data: bytes, message: str, forks: Collection[str]) -> bytes:
    """The bytes `data` of a `message` under the numbers that `forks`, which explain the net it is in, have for it."""
    walker = Walker(data)
    pieces = []
    for part in walker.fields(0, len(data)):
        number = _written_number(walker, message, part, forks)
        inner = _inner(message, part.number) if part.wire == BYTES else ""
        value = data[part.start : part.end]
        if inner and is_touched(inner):
            pieces.append((number, delimited(number, written_message(value, inner, forks))))
        else:
            pieces.append((number, renumbered(walker, part, number)))
    return b"".join(piece for _, piece in sorted(pieces, key=lambda pair: pair[0]))  # as protobuf writes them


def undecided(net: Any) -> Iterator[str]:
    """A line for each field of `net` that stayed parked: where it stands, and what it may be."""
    yield from (f"net: field {line}" for line in _undecided(net))
    for layer in net.layer:
        yield from (f"layer '{layer.name}': field {line}" for line in _undecided(layer))


def is_undecided(message: str, unknown: Any) -> bool:
    """Whether an unknown field of a `message` is a parked one with several meanings."""
    return len(_choices(message, unknown)) > 1


def renumbered(walker: Walker, field: Field, number: int) -> bytes:
    """The bytes of `field` with another number."""
    behind = field.tag + len(tag(field.number, field.wire))
    return tag(number, field.wire) + walker.data[behind : field.end]


@cache
def is_touched(message: str) -> bool:
    """Whether a `message`, or one inside it, has fields whose numbers in files may not be ours."""
    return bool(_meanings(message)) or any(map(is_touched, set(_messages(message).values()) - {message}))


def message_name(field: Any) -> str:
    """The name of the message that a field of a descriptor has; empty where it is none, or has no numbers of forks."""
    if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
        return ""
    return str(field.message_type.full_name.removeprefix("caffe."))


def _read_field(walker: Walker, part: Field, message: str) -> tuple[bytes | None, bool]:
    if part.number in _meanings(message):
        fitting = _fitting(message, part.number, part.wire, _value(walker, part))
        if len(fitting) != 1:
            return renumbered(walker, part, part.number | PARKED), len(fitting) > 1
        number = fitting[0].number
    else:
        number = part.number
    inner = _inner(message, number) if part.wire == BYTES else ""
    if inner:
        new, parked = read_message(walker, part.start, part.end, inner)
        if new is not None:
            return delimited(number, new), parked
    return (None if number == part.number else renumbered(walker, part, number)), False


def _settle(message: Any, forks: Collection[str]) -> None:
    name = message.DESCRIPTOR.full_name.removeprefix("caffe.")
    for field, value in message.ListFields():
        if is_touched(message_name(field)) or field.name == "layer":
            for item in value if is_repeated(field) else (value,):
                _settle(item, forks)
    if not any(is_undecided(name, unknown) for unknown in UnknownFieldSet(message)):
        return
    walker = Walker(message.SerializePartialToString())
    pieces = []
    for part in walker.fields(0, len(walker.data)):
        number = part.number
        if number >= PARKED:
            meaning = _decided(_fitting(name, number & ~PARKED, part.wire, _value(walker, part)), forks)
            number = meaning.number if meaning else number
        pieces.append(renumbered(walker, part, number))
    message.Clear()
    message.MergeFromString(b"".join(pieces))


def _decided(meanings: list[Meaning], forks: Collection[str]) -> Meaning | None:
    """The meaning that `forks` give a field; Caffe's own where they do not agree; None where it has none then."""
    own = next((meaning for meaning in meanings if not meaning.forks), None)
    found = {next((m for m in meanings if fork in m.forks), own) for fork in forks}
    return found.pop() if len(found) == 1 else own


def _written_number(walker: Walker, message: str, part: Field, forks: Collection[str]) -> int:
    """The number in the first of `forks` that has the field; ours where it would be taken for another there."""
    if part.number >= PARKED:
        return part.number & ~PARKED
    name = _names(message).get(part.number, "")
    known = added_fields().get(message, {}).get(name, {})
    if not known:
        return part.number
    fork = next((fork for fork in order() if fork in forks and fork in known), next(iter(known)))
    fitting = _fitting(message, known[fork], part.wire, _value(walker, part))
    meaning = fitting[0] if len(fitting) == 1 else _decided(fitting, forks)
    return known[fork] if meaning and meaning.name == name else part.number


def _fitting(message: str, number: int, wire: int, value: int) -> list[Meaning]:
    return [meaning for meaning in _meanings(message).get(number, ()) if meaning.fits(wire, value)]


def _choices(message: str, unknown: Any) -> list[Meaning]:
    """The meanings of an unknown field, none where it is not parked."""
    if unknown.field_number < PARKED:
        return []
    value = unknown.data if unknown.wire_type == VARINT else 0
    return _fitting(message, unknown.field_number & ~PARKED, unknown.wire_type, value)


def _value(walker: Walker, part: Field) -> int:
    return walker.varint(part.start, part.end)[0] if part.wire == VARINT else 0


def _undecided(message: Any, prefix: str = "") -> Iterator[str]:
    name = message.DESCRIPTOR.full_name.removeprefix("caffe.")
    for unknown in UnknownFieldSet(message):
        meanings = _choices(name, unknown)
        if len(meanings) > 1:
            choices = ", ".join(f"{each.name} in {' and '.join(each.forks[:3])}" for each in meanings)
            yield f"{prefix}{unknown.field_number & ~PARKED} is {choices}"
    for field, value in message.ListFields():
        if is_touched(message_name(field)) and field.name not in ("layer", "layers"):
            for item in value if is_repeated(field) else (value,):
                yield from _undecided(item, f"{prefix}{field.name}.")


@cache
def _fields(message: str) -> dict[str, Any]:
    return {field.name: field for field in fields_of(f"caffe.{message}")}


@cache
def _names(message: str) -> dict[int, str]:
    return {field.number: name for name, field in _fields(message).items()}


@cache
def _messages(message: str) -> dict[int, str]:
    """Number of ours -> the name of the message that the field is."""
    return {f.number: message_name(f) for f in (_fields(message) if message else {}).values() if message_name(f)}


def _inner(message: str, number: int) -> str:
    return _messages(message).get(number, "")


@cache
def _meanings(message: str) -> dict[int, list[Meaning]]:
    """Number in files -> its meanings, of all numbers that have several, or one under another number here."""
    if message in _ELSEWHERE or message not in added_fields():
        return {}
    fields, added = _fields(message), added_fields()[message]
    found: dict[int, list[Meaning]] = {}
    for name, forks in added.items():
        ours = fields[name]
        for number in dict.fromkeys(forks.values()):
            those = tuple(fork for fork, each in forks.items() if each == number)
            found.setdefault(number, []).append(_meaning(ours, those))
    for name, field in fields.items():
        if name not in added and field.number in found:
            found[field.number].append(_meaning(field, ()))
    return {number: each for number, each in found.items() if len(each) > 1 or each[0].number != number}


def _meaning(field: Any, forks: tuple[str, ...]) -> Meaning:
    is_bool = field.cpp_type == FieldDescriptor.CPPTYPE_BOOL
    return Meaning(field.name, field.number, WIRE[field.cpp_type], is_bool, forks)


@cache
def _pattern(message: str) -> re.Pattern[bytes] | None:
    """Finds what may be the tag of a field that is not right as it stands, in a `message` or one inside it."""
    tags = sorted(_tags(message, frozenset()))
    return re.compile(b"|".join(map(re.escape, tags))) if tags else None


def _tags(message: str, above: frozenset[str]) -> set[bytes]:
    wires = (VARINT, FIXED64, BYTES, FIXED32)
    found = {tag(number, wire) for number in _meanings(message) for wire in wires}
    for inner in set(_messages(message).values()) - above:
        found |= _tags(inner, above | {message})
    return found
