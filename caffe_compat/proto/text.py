"""Prototxt: protobuf's text form, read with errors that say where and what, and written as Caffe would read it.

The language is the one that Caffe's own reader takes (protobuf's text_format.cc): `#` comments, `;` or `,` between
fields, `{}` or `<>` round messages, lists `[1, 2]`, strings in either quote, one after another, with C escapes, hex and
octal numbers, `inf` and `nan`. An unknown field, or a field that stands twice and may stand once, is an error there and
here. The parser is our own because messages must not depend on the protobuf release that happens to be installed.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from caffe_compat.errors import ParseError
from caffe_compat.proto.printer import format_text
from caffe_compat.proto.reading import read_bytes
from caffe_compat.proto.recognition import HEAD, recognised, recognised_text, utf16
from caffe_compat.proto.schema import NetParameter, SolverParameter, fields_of, is_repeated, required_fields
from caffe_compat.proto.tokens import CLOSING, OPENING, Token, Tokens, shown
from caffe_compat.proto.values import READERS, plain_value

__all__ = ["find_faults", "format_text", "parse_text", "read_text"]

logger = logging.getLogger(__name__)

_CLOSING = {"{": "}", "<": ">"}
_FILE_NAMES = {"NetParameter": "net", "SolverParameter": "solver"}
_TOP_LEVEL = ("NetParameter", "SolverParameter")
_OF_OLD_LAYERS = {"blobs_lr": "param { lr_mult: ... }", "weight_decay": "param { decay_mult: ... }"}
MOST_FAULTS = 100  # that one reading lists


def read_text(path: str | os.PathLike[str], message_class: Any) -> Any:
    """The message in the text file `path`. Raises ParseError, also where the file cannot be opened."""
    text = _content(path)
    try:
        return parse_text(text, message_class, os.fspath(path))
    except ParseError:
        _refuse_others(path, text, message_class)
        raise


def find_faults(path: str | os.PathLike[str]) -> list[ParseError]:
    """Every fault of the net in the text file `path`, in their order: after one, reading goes on at the next field.

    One line only where the file is no net but a solver. At most 100 are given.
    """
    faults: list[ParseError] = []
    try:
        text = _content(path)
        parse_text(text, NetParameter, os.fspath(path), faults)
    except ParseError as error:
        return [*faults, error]
    solver: list[ParseError] = []
    if faults:
        try:
            _refuse_others(path, text, NetParameter)
        except ParseError as error:
            return [error]
    if faults and "net" in text:
        with suppress(ParseError):
            parse_text(text, SolverParameter, os.fspath(path), solver)
        if not solver:
            return [ParseError(f"{path}: this is a solver, not a net; give the net that it names")]
    return faults


def _refuse_others(path: str | os.PathLike[str], text: str, message_class: Any) -> None:
    """ParseError where a text that cannot be read is known to be something else than a prototxt."""
    told = recognised_text(text[:HEAD].removeprefix("\ufeff"))
    if told:
        raise ParseError(f"{path}: {told}; the prototxt of a {_FILE_NAMES[message_class.DESCRIPTOR.name]} is wanted")


def _content(path: str | os.PathLike[str]) -> str:
    """The text at `path`. Comments may be in any encoding; only a string must be UTF-8, and is checked in its place."""
    content = read_bytes(path)
    told = recognised(content[:HEAD]) if content else ""  # an empty file is an empty message
    if told:
        raise ParseError(f"{path}: {told}")
    encoding = utf16(content[:HEAD])
    if encoding:
        logger.warning("%s: is UTF-16, which Caffe does not read; save it as UTF-8", path)
        return content.decode(encoding, "replace")
    return content.decode("utf-8", "surrogateescape")


def parse_text(text: str, message_class: Any, path: str = "<text>", faults: list[ParseError] | None = None) -> Any:
    """The message that `text` spells. Raises ParseError as `path:line:column: what is wrong; the way out`.

    With a list for `faults`, every fault goes into it, and the message has what could be read between them.
    """
    message = message_class()
    name = _FILE_NAMES.get(message.DESCRIPTOR.name, message.DESCRIPTOR.name)
    text = text.removeprefix("\ufeff")
    tokens = Tokens(text, path)
    if "\0" in text:
        zero = Token("bad", "\0", text.index("\0"))
        raise tokens.error(zero, "a zero byte stands here, and no prototxt has one; remove it, or copy the file again")
    _Parser(tokens, faults).fields(message, name, None, None)
    return message


class _Field(NamedTuple):
    """What the parser asks of a field, looked up once for each message type.

    words: the values of an enum, and of a field that is true or false, by name.
    """

    name: str
    descriptor: Any
    cpp_type: int
    repeated: bool
    is_message: bool
    is_bytes: bool
    words: dict[str, Any]


@cache
def _fields_of(full_name: str) -> dict[str, _Field]:
    return {field.name: _field_of(field) for field in fields_of(full_name)}


def _field_of(field: Any) -> _Field:
    words: dict[str, Any] = {}
    if field.enum_type is not None:
        words = {name: value.number for name, value in field.enum_type.values_by_name.items()}
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        words = {"true": True, "false": False}
    is_bytes = field.type == FieldDescriptor.TYPE_BYTES
    return _Field(
        field.name, field, field.cpp_type, is_repeated(field), field.message_type is not None, is_bytes, words
    )


class _Parser:
    def __init__(self, tokens: Tokens, faults: list[ParseError] | None) -> None:
        self.tokens = tokens
        self.faults = faults

    def fields(self, message: Any, name: str, opened: Token | None, closing: str | None) -> None:
        """Fill `message` with all fields up to `closing`, or up to the end of the text."""
        tokens, seen = self.tokens, set[str]()
        known = _fields_of(message.DESCRIPTOR.full_name)
        while True:
            whole = tokens.whole()
            if whole is not None:
                if whole.lastindex == CLOSING and closing == "}":
                    tokens.accept(whole)
                    break
                field = known.get(whole[1])
                if field is not None and self.whole_field(message, field, seen, whole):
                    continue
            try:
                if not self.next_field(message, name, seen, opened, closing):
                    break
            except ParseError as error:
                self.recover(error)
                if tokens.next.kind == "end" and closing is not None:
                    break
        for required in required_fields(message.DESCRIPTOR.full_name):
            if required not in seen:
                self.complain(tokens.error(opened or tokens.next, f"{name} lacks '{required}', which it must have"))

    def whole_field(self, message: Any, field: _Field, seen: set[str], whole: re.Match[str]) -> bool:
        """Read the field that stands in `whole` if nothing about it is unusual; whether that was so."""
        name, _, cpp_type, repeated, is_message, is_bytes, words = field
        group = whole.lastindex or 0
        if (not repeated and name in seen) or is_message != (group == OPENING) or is_bytes:
            return False
        if is_message:
            self.tokens.accept(whole)
            self.fields(_opened(message, field), name, Token("symbol", "{", whole.start(OPENING)), "}")
            self.tokens.skip_separator()
        else:
            value = plain_value(cpp_type, words, group, whole[group])
            if value is None:
                return False
            if repeated:
                getattr(message, name).append(value)
            else:
                setattr(message, name, value)
            self.tokens.accept(whole)
        seen.add(name)
        return True

    def next_field(self, message: Any, name: str, seen: set[str], opened: Token | None, closing: str | None) -> bool:
        """Read one field word by word; False where the message ends instead."""
        tokens = self.tokens
        token = tokens.take()
        if token.kind != "name":
            if token.text == closing or (token.kind == "end" and closing is None):
                return False
            raise tokens.error(token, self._expected_field(token, name, opened, closing))
        field = _fields_of(message.DESCRIPTOR.full_name).get(token.text)
        if field is None:
            self.complain(tokens.error(token, self._unknown(message.DESCRIPTOR, name, token.text, opened)))
            self.skip_value()
            return True
        if not field.repeated and token.text in seen:
            self.complain(tokens.error(token, f"{name} has '{token.text}' twice; it may stand once"))
        seen.add(token.text)
        self.field(message, field)
        tokens.skip_separator()
        return True

    def complain(self, fault: ParseError) -> None:
        """Note `fault` if all are wanted, else raise it."""
        if self.faults is None or len(self.faults) >= MOST_FAULTS:
            raise fault
        self.faults.append(fault)

    def recover(self, fault: ParseError) -> None:
        """Note `fault` and go on to what looks like the next field, or to the brace that closes this message."""
        self.complain(fault)
        tokens, depth, begun = self.tokens, 0, self.tokens.fault
        while True:
            try:
                token = tokens.next
                if token.kind == "end" or (depth == 0 and token.offset > begun and tokens.begins_field()):
                    return
                if token.kind == "symbol" and token.text in "{<":
                    depth += 1
                elif token.kind == "symbol" and token.text in "}>":
                    if depth == 0:
                        return
                    depth -= 1
                tokens.take()
            except ParseError:
                tokens.skip_line()

    def skip_value(self) -> None:
        """Put the value of a field that nobody knows behind us."""
        tokens, depth = self.tokens, 0
        tokens.skip(":")
        while True:
            token = tokens.next
            if token.kind == "end" or (depth == 0 and token.text in ("}", ">", "]")):
                return
            tokens.take()
            if token.kind == "symbol" and token.text in "{<[":
                depth += 1
            elif token.kind == "symbol" and token.text in "}>]":
                depth -= 1
            if depth == 0 and token.text != "-" and not (token.kind == tokens.next.kind == "string"):
                tokens.skip_separator()
                return

    def field(self, message: Any, field: _Field) -> None:
        """Read the value or values of `field` into `message`."""
        tokens = self.tokens
        if not tokens.skip(":") and not field.is_message:
            torn = "; if a layer begins here, a '}' is missing before it" if field.name == "layer" else ""
            raise tokens.error(tokens.next, f"expected ':' after '{field.name}', found {shown(tokens.next)}{torn}")
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
        self.fields(_opened(parent, field), field.name, token, closing)

    def scalar(self, message: Any, field: _Field) -> None:
        """Read one number, string, truth value or enum value into `field` of `message`."""
        token = self.tokens.next
        value = READERS[field.cpp_type](self.tokens, field.descriptor)
        try:
            if field.repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        except (ValueError, TypeError) as error:
            raise self.tokens.error(token, f"{field.name} cannot be {shown(token)}: {error}") from error

    def _unknown(self, descriptor: Any, name: str, found: str, opened: Token | None) -> str:
        if opened is not None and found in ("layer", "layers"):
            line = self.tokens.line(opened.offset)
            return f"{name} has no field '{found}'; the '{opened.text}' of line {line} is not closed"
        return _unknown_field(descriptor, name, found)

    def _expected_field(self, token: Token, name: str, opened: Token | None, closing: str | None) -> str:
        if opened is None:
            return f"expected a field of {name}, found {shown(token)}"
        line = self.tokens.line(opened.offset)
        return f"expected a field of {name} or the '{closing}' that closes line {line}, found {shown(token)}"


def _opened(parent: Any, field: _Field) -> Any:
    """The message in `field` of `parent`, a new one where it is repeated."""
    value = getattr(parent, field.name)
    if field.repeated:
        return value.add()
    value.SetInParent()
    return value


def _unknown_field(descriptor: Any, name: str, found: str) -> str:
    """What to say of a field that `descriptor` does not have: the nearest name, or where the field belongs."""
    message = f"{name} has no field '{found}'"
    if descriptor.name == "LayerParameter" and found in _OF_OLD_LAYERS:
        return f"{message}; it is of the old 'layers': write {_OF_OLD_LAYERS[found]} instead"
    near = difflib.get_close_matches(found, descriptor.fields_by_name, n=1, cutoff=0.7)
    if near:
        return f"{message}; did you mean '{near[0]}'?"
    messages = descriptor.file.message_types_by_name
    for other in _TOP_LEVEL:
        if descriptor.name in _TOP_LEVEL and found in messages[other].fields_by_name:
            return f"{message}; it is a field of a {_FILE_NAMES[other]}: is this the right file?"
    inside = [f.name for f in descriptor.fields if f.message_type and found in f.message_type.fields_by_name]
    if inside:
        return f"{message}; it belongs inside {' or '.join(inside[:3])}"
    return message
