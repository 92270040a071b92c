"""Prototxt: protobuf's text form, read with errors that say where and what, and written as Caffe would read it.

The language is the one that Caffe's own reader takes (protobuf's text_format.cc): `#` comments, `;` or `,` between
fields, `{}` or `<>` round messages, lists `[1, 2]`, strings in either quote, one after another, with C escapes, hex and
octal numbers, `inf` and `nan`. An unknown field, or a field that stands twice and may stand once, is an error there and
here. The parser is our own because messages must not depend on the protobuf release that happens to be installed.
"""

from __future__ import annotations

import difflib
import math
import os
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from caffe_compat.errors import ParseError
from caffe_compat.proto.printer import format_text
from caffe_compat.proto.schema import fields_of, is_repeated, required_fields
from caffe_compat.proto.tokens import Token, Tokens, shown, string_bytes, whole_number

__all__ = ["format_text", "parse_text", "read_text"]

_SINGLE = struct.Struct("f")
_CLOSING = {"{": "}", "<": ">"}
_TRUTH = {
    "true": True, "True": True, "t": True, "1": True,
    "false": False, "False": False, "f": False, "0": False,
}  # fmt: skip
_FILE_NAMES = {"NetParameter": "net", "SolverParameter": "solver"}
_TOP_LEVEL = ("NetParameter", "SolverParameter")
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def read_text(path: str | os.PathLike[str], message_class: Any) -> Any:
    """The message in the text file `path`. Raises ParseError, also where the file cannot be opened."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ParseError(f"{path}: cannot be read: {error.strerror}") from error
    # Comments may be in any encoding; only a string must be UTF-8, and is checked where it stands.
    return parse_text(data.decode("utf-8", "surrogateescape"), message_class, os.fspath(path))


def parse_text(text: str, message_class: Any, path: str = "<text>") -> Any:
    """The message that `text` spells. Raises ParseError as `path:line:column: what is wrong; the way out`."""
    message = message_class()
    name = _FILE_NAMES.get(message.DESCRIPTOR.name, message.DESCRIPTOR.name)
    _Parser(Tokens(text.removeprefix("\ufeff"), path)).fields(message, name, None, None)
    return message


class _Field(NamedTuple):
    """What the parser asks of a field, looked up once for each message type."""

    name: str
    descriptor: Any
    repeated: bool
    is_message: bool


@cache
def _fields_of(full_name: str) -> dict[str, _Field]:
    return {
        field.name: _Field(field.name, field, is_repeated(field), field.message_type is not None)
        for field in fields_of(full_name)
    }


class _Parser:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def fields(self, message: Any, name: str, opened: Token | None, closing: str | None) -> None:
        """Fill `message` with all fields up to `closing`, or up to the end of the text."""
        tokens, seen = self.tokens, set()
        known = _fields_of(message.DESCRIPTOR.full_name)
        while True:
            token = tokens.take()
            if token.kind == "name":
                field = known.get(token.text)
                if field is None:
                    raise tokens.error(token, _unknown_field(message.DESCRIPTOR, name, token.text))
                if not field.repeated:
                    if token.text in seen:
                        raise tokens.error(token, f"{name} has '{token.text}' twice; it may stand once")
                    seen.add(token.text)
                self.field(message, field)
                tokens.skip(";") or tokens.skip(",")
            elif token.text == closing or (token.kind == "end" and closing is None):
                break
            else:
                raise tokens.error(token, self._expected_field(token, name, opened, closing))
        for required in required_fields(message.DESCRIPTOR.full_name):
            if required not in seen:
                raise tokens.error(opened or token, f"{name} lacks '{required}', which it must have")

    def field(self, message: Any, field: _Field) -> None:
        """Read the value or values of `field` into `message`."""
        tokens = self.tokens
        if not tokens.skip(":") and not field.is_message:
            raise tokens.error(tokens.next, f"expected ':' after '{field.name}', found {shown(tokens.next)}")
        read = self.message if field.is_message else self.scalar
        if not (field.repeated and tokens.skip("[")):
            read(message, field)
            return
        if tokens.skip("]"):
            return
        read(message, field)
        while tokens.skip(","):
            read(message, field)
        if not tokens.skip("]"):
            raise tokens.error(tokens.next, f"expected ',' or ']' in the list of '{field.name}', "
                                            f"found {shown(tokens.next)}")  # fmt: skip

    def message(self, parent: Any, field: _Field) -> None:
        """Read one message between braces into `field` of `parent`."""
        token = self.tokens.take()
        closing = _CLOSING.get(token.text) if token.kind == "symbol" else None
        if closing is None:
            raise self.tokens.error(token, f"expected '{{' after '{field.name}', found {shown(token)}")
        value = getattr(parent, field.name)
        if field.repeated:
            value = value.add()
        else:
            value.SetInParent()
        self.fields(value, field.name, token, closing)

    def scalar(self, message: Any, field: _Field) -> None:
        """Read one number, string, truth value or enum value into `field` of `message`."""
        token = self.tokens.next
        value = _READERS[field.descriptor.cpp_type](self, field.descriptor)
        try:
            if field.repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        except (ValueError, TypeError) as error:
            raise self.tokens.error(token, f"{field.name} cannot be {shown(token)}: {error}") from error

    def number(self) -> tuple[Token, bool]:
        """The next word, and whether a minus stands before it."""
        minus = self.tokens.skip("-")
        return self.tokens.take(), minus

    def integer(self, field: Any) -> int:
        token, minus = self.number()
        value = whole_number(token.text) if token.kind == "number" else None
        low, high = _RANGES[field.cpp_type]
        if value is not None and low <= (-value if minus else value) <= high:
            return -value if minus else value
        raise self.tokens.error(token, f"{field.name} wants a whole number from {low} to {high}, "
                                       f"found {'minus ' * minus}{shown(token)}")  # fmt: skip

    def float32(self, field: Any) -> float:
        """The value, rounded to single precision; beyond its range it is infinite, as in C++."""
        value = self.float64(field)
        try:
            return float(_SINGLE.unpack(_SINGLE.pack(value))[0])
        except OverflowError:
            return math.copysign(math.inf, value)

    def float64(self, field: Any) -> float:
        token, minus = self.number()
        value = None
        if token.kind == "number" and token.text[:2] not in ("0x", "0X"):
            value = float(token.text.rstrip("fF"))
        elif token.kind == "name":
            value = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}.get(token.text.lower())
        if value is None:
            raise self.tokens.error(token, f"{field.name} wants a number, found {shown(token)}")
        return -value if minus else value

    def truth(self, field: Any) -> bool:
        token = self.tokens.take()
        if token.kind in ("name", "number") and token.text in _TRUTH:
            return _TRUTH[token.text]
        raise self.tokens.error(token, f"{field.name} wants true or false, found {shown(token)}")

    def choice(self, field: Any) -> int:
        token, minus = self.number()
        values = field.enum_type.values_by_name
        if token.kind == "name" and not minus and token.text in values:
            return int(values[token.text].number)
        number = whole_number(token.text) if token.kind == "number" else None
        if number is not None and (-number if minus else number) in field.enum_type.values_by_number:
            return -number if minus else number
        raise self.tokens.error(token, f"{field.name} cannot be {shown(token)}; {_allowed(token, list(values))}")

    def string(self, field: Any) -> str | bytes:
        token = self.tokens.next
        if token.kind != "string":
            raise self.tokens.error(token, f"{field.name} wants a string in quotes, found {shown(token)}")
        parts = []
        while self.tokens.next.kind == "string":
            part = self.tokens.take()
            try:
                parts.append(string_bytes(part.text))
            except ValueError as error:
                raise self.tokens.error(part, str(error)) from error
        value = b"".join(parts)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return value
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.tokens.error(token, f"{field.name} is not UTF-8; save the file as UTF-8") from error

    def _expected_field(self, token: Token, name: str, opened: Token | None, closing: str | None) -> str:
        if opened is None:
            return f"expected a field of {name}, found {shown(token)}"
        line = self.tokens.line(opened.offset)
        return f"expected a field of {name} or the '{closing}' that closes line {line}, found {shown(token)}"


_READERS: dict[int, Callable[[_Parser, Any], Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _Parser.integer,
    FieldDescriptor.CPPTYPE_INT64: _Parser.integer,
    FieldDescriptor.CPPTYPE_UINT32: _Parser.integer,
    FieldDescriptor.CPPTYPE_UINT64: _Parser.integer,
    FieldDescriptor.CPPTYPE_FLOAT: _Parser.float32,
    FieldDescriptor.CPPTYPE_DOUBLE: _Parser.float64,
    FieldDescriptor.CPPTYPE_BOOL: _Parser.truth,
    FieldDescriptor.CPPTYPE_ENUM: _Parser.choice,
    FieldDescriptor.CPPTYPE_STRING: _Parser.string,
}


def _unknown_field(descriptor: Any, name: str, found: str) -> str:
    """What to say of a field that `descriptor` does not have: the nearest name, or where the field belongs."""
    message = f"{name} has no field '{found}'"
    near = difflib.get_close_matches(found, descriptor.fields_by_name, n=1, cutoff=0.7)
    if near:
        return f"{message}; did you mean '{near[0]}'?"
    inside = [f.name for f in descriptor.fields if f.message_type and found in f.message_type.fields_by_name]
    if inside:
        return f"{message}; it belongs inside {' or '.join(inside[:3])}"
    messages = descriptor.file.message_types_by_name
    for other in _TOP_LEVEL:
        if descriptor.name in _TOP_LEVEL and found in messages[other].fields_by_name:
            return f"{message}; it is a field of a {_FILE_NAMES[other]}: is this the right file?"
    return message


def _allowed(token: Token, values: list[str]) -> str:
    near = difflib.get_close_matches(token.text.strip("\"'").upper(), values, n=1, cutoff=0.6)
    quotes = " (without quotes)" if token.kind == "string" else ""
    if near:
        return f"did you mean {near[0]}{quotes}?"
    return f"allowed{quotes}: {', '.join(values)}"
