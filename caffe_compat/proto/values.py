"""The values of a prototxt: a number, string, truth value or enum value as its field wants it."""

from __future__ import annotations

import difflib
import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from caffe_compat.proto import forks
from caffe_compat.proto.tokens import NUMBER, STRING, WORD, Token, Tokens, shown, string_bytes, whole_number

_SINGLE = struct.Struct("f")
_LARGEST = (2 - 2**-23) * 2.0**127
_MIDDLE = (2 - 2**-24) * 2.0**127  # between the largest and infinity, to which the processor would round it
_TRUTH = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}

_UNSIGNED = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)

_LEADING_ZERO = re.compile("-?0[0-9]")  # octal, which a whole number may be, but no other
_MOST_DIGITS = 9  # of a number that fits every type


def plain_value(cpp_type: int, names: Mapping[str, int], group: int, text: str) -> Any:
    """The value that `text`, of the group `group` of `Tokens.whole`, has in a field; None where it takes a closer look.

    names: the values of a field that is an enum, and of one that is a truth value.
    """
    if group == WORD:
        return names.get(text)
    if len(text) > _MOST_DIGITS and group == NUMBER:
        return None
    if group == STRING:
        return text if cpp_type == FieldDescriptor.CPPTYPE_STRING and text.isascii() else None
    if cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return None if _LEADING_ZERO.match(text) else float(text)
    return int(text) if cpp_type in _RANGES and text.isdigit() and (text[0] != "0" or text == "0") else None


def number(tokens: Tokens) -> tuple[Token, bool]:
    """The next word, and whether a minus stands before it."""
    minus = tokens.skip("-")
    return tokens.take(), minus


def integer(tokens: Tokens, field: Any) -> int:
    token, minus = number(tokens)
    is_number = token.kind == "number" and not (minus and field.cpp_type in _UNSIGNED)  # which take not even -0
    value = whole_number(token.text) if is_number else None
    low, high = _RANGES[field.cpp_type]
    if value is not None and low <= (-value if minus else value) <= high:
        return -value if minus else value
    raise tokens.error(token, f"{field.name} wants a whole number from {low} to {high}, "
                                   f"found {'minus ' * minus}{shown(token)}")  # fmt: skip


def float32(tokens: Tokens, field: Any) -> float:
    """The value, rounded to single precision; beyond its range it is infinite, as in protobuf (DoubleToFloat)."""
    value = float64(tokens, field)
    if abs(value) == _MIDDLE:
        return math.copysign(_LARGEST, value)
    try:
        return float(_SINGLE.unpack(_SINGLE.pack(value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def float64(tokens: Tokens, field: Any) -> float:
    token, minus = number(tokens)
    value = None
    if token.kind == "number" and token.text[:2] not in ("0x", "0X") and not _LEADING_ZERO.match(token.text):
        value = float(token.text.rstrip("fF"))
    elif token.kind == "name":
        value = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}.get(token.text.lower())
    if value is None:
        raise tokens.error(token, f"{field.name} wants a number, found {shown(token)}")
    return -value if minus else value


def truth(tokens: Tokens, field: Any) -> bool:
    token = tokens.take()
    if token.kind == "name" and token.text in _TRUTH:
        return _TRUTH[token.text]
    value = whole_number(token.text) if token.kind == "number" else None
    if value in (0, 1):
        return bool(value)
    raise tokens.error(token, f"{field.name} wants true or false, found {shown(token)}")


def choice(tokens: Tokens, field: Any) -> int:
    token, minus = number(tokens)
    values = field.enum_type.values_by_name
    if token.kind == "name" and not minus and token.text in values:
        return int(values[token.text].number)
    value = whole_number(token.text) if token.kind == "number" else None
    value = -value if value is not None and minus else value
    known = field.enum_type.values_by_number.get(value)
    added = forks.added_values(field.enum_type.full_name) if known else frozenset()
    if known is not None and (known.name not in added or added.issuperset(values)):
        return int(known.number)
    meant = f"; write the name, such as {known.name}: forks have numbers of their own" if known else ""
    raise tokens.error(token, f"{field.name} cannot be {shown(token)}{meant or '; ' + _allowed(token, list(values))}")


def string(tokens: Tokens, field: Any) -> str | bytes:
    token = tokens.next
    if token.kind != "string":
        raise tokens.error(token, f"{field.name} wants a string in quotes, found {shown(token)}")
    parts = []
    while tokens.next.kind == "string":
        part = tokens.take()
        try:
            parts.append(string_bytes(part.text))
        except ValueError as error:
            raise tokens.error(part, str(error)) from error
    value = b"".join(parts)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise tokens.error(token, f"{field.name} is not UTF-8; save the file as UTF-8") from error


def _allowed(token: Token, values: list[str]) -> str:
    near = difflib.get_close_matches(token.text.strip("\"'").upper(), values, n=1, cutoff=0.6)
    quotes = " (without quotes)" if token.kind == "string" else ""
    if near:
        return f"did you mean {near[0]}{quotes}?"
    return f"allowed{quotes}: {', '.join(values)}"


READERS: dict[int, Callable[[Tokens, Any], Any]] = {
    FieldDescriptor.CPPTYPE_INT32: integer,
    FieldDescriptor.CPPTYPE_INT64: integer,
    FieldDescriptor.CPPTYPE_UINT32: integer,
    FieldDescriptor.CPPTYPE_UINT64: integer,
    FieldDescriptor.CPPTYPE_FLOAT: float32,
    FieldDescriptor.CPPTYPE_DOUBLE: float64,
    FieldDescriptor.CPPTYPE_BOOL: truth,
    FieldDescriptor.CPPTYPE_ENUM: choice,
    FieldDescriptor.CPPTYPE_STRING: string,
}
