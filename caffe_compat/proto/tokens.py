"""The words of protobuf's text form: names, numbers, strings and punctuation, each with its place in the text.

The rules are those of the tokenizer that Caffe reads prototxt with (protobuf's io/tokenizer.cc with shell comments).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from caffe_compat.errors import ParseError

_TOKEN = re.compile(
    r"""
    (?: [ \t\r\n\v\f]+ | \#[^\n]* )*
    (?:
      (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<symbol> [{}<>\[\]:;,-] )
    | (?P<number> (?: 0[xX][0-9a-fA-F]+ | (?: [0-9]+ \.? [0-9]* | \.[0-9]+ ) (?: [eE][+-]?[0-9]+ )? [fF]? )
                  (?! [A-Za-z0-9_.] ) )
    | (?P<string> " (?: [^"\\\n] | \\[^\n] )* " | ' (?: [^'\\\n] | \\[^\n] )* ' )
    | (?P<end>    \Z )
    | (?P<bad>    (?s:.) )
    )
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv?\\'\"])|.)", re.DOTALL
)
_LETTERS = dict(zip(b"abfnrtv?\\'\"", b"\a\b\f\n\r\t\v?\\'\"", strict=True))


class Token(NamedTuple):
    """One word: its kind (name, symbol, number, string or end), its spelling, and its offset in the text."""

    kind: str
    text: str
    offset: int


class Tokens:
    """The words of `text`, one at a time, with the next one in sight as `next`."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self._text = text
        self._matches = _TOKEN.finditer(text)
        self.next = self._read()

    def take(self) -> Token:
        """The next word, which is then behind us."""
        token = self.next
        if token.kind != "end":
            self.next = self._read()
        return token

    def skip(self, symbol: str) -> bool:
        """Whether the next word is `symbol`, which is then behind us."""
        if self.next.text != symbol or self.next.kind != "symbol":
            return False
        self.next = self._read()
        return True

    def line(self, offset: int) -> int:
        """The line of `offset`, counted from 1."""
        return self._text.count("\n", 0, offset) + 1

    def error(self, token: Token, message: str) -> ParseError:
        """`message` with the place of `token` before it, as path:line:column."""
        column = token.offset - self._text.rfind("\n", 0, token.offset)
        return ParseError(f"{self.path}:{self.line(token.offset)}:{column}: {message}")

    def _read(self) -> Token:
        match = next(self._matches)
        kind = match.lastgroup or "end"
        token = Token(kind, match[kind], match.start(kind))
        if kind == "bad":
            raise self.error(token, _complaint(self._text, token))
        return token


def _complaint(text: str, token: Token) -> str:
    line = text[token.offset :].split("\n", 1)[0]
    if token.text in "\"'":
        return f"the string opened with {token.text} is not closed on its line"
    if token.text.isdigit() or token.text == ".":
        return f"{line.split()[0]!r} is not a number"
    return f"unexpected character {token.text!r}"


def shown(token: Token) -> str:
    """A word as an error names it."""
    if token.kind == "end":
        return "the end of the file"
    text = token.text if len(token.text) <= 40 else token.text[:37] + "..."
    return text if token.kind == "string" else f"'{text}'"


def string_bytes(literal: str) -> bytes:
    """The bytes of one quoted string, its escapes resolved. Raises ValueError that says which escape is wrong."""
    inner = literal[1:-1].encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_unescaped, inner) if b"\\" in inner else inner


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, short, long, letter = match.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 255])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if letter is not None:
        return bytes([_LETTERS[letter[0]]])
    point = int(short or long or b"110000", 16)
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        raise ValueError(f"the string has an unknown escape {match[0].decode('utf-8', 'replace')}")
    return chr(point).encode()


def whole_number(text: str) -> int | None:
    """The value of a decimal, octal (leading 0) or hexadecimal whole number; None if `text` is none of them."""
    try:
        if text[:2] in ("0x", "0X"):
            return int(text, 16)
        if not text.isdigit():
            return None
        return int(text, 8) if text[0] == "0" and len(text) > 1 else int(text)
    except ValueError:
        return None
