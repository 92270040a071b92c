"""The words of protobuf's text form: names, numbers, strings and punctuation, each with its place in the text.

The rules are those of the tokenizer that Caffe reads prototxt with (protobuf's io/tokenizer.cc with shell comments).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from caffe_compat.errors import ParseError

_TOKEN = re.compile(
    r"""
    [ \t\r\n\v\f]* (?: \#[^\n]* [ \t\r\n\v\f]* )*
    (?:
      (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<symbol> [{}<>\[\]:;,-] )
    | (?P<number> (?: 0[xX][0-9a-fA-F]+ | (?: [0-9]+ \.? [0-9]* | \.[0-9]+ ) (?: [eE][+-]?[0-9]+ )? [fF]? )
                  (?! [A-Za-z0-9_.] ) )
    | (?P<string> " [^"\\\n]* (?: \\[^\n] [^"\\\n]* )* " | ' [^'\\\n]* (?: \\[^\n] [^'\\\n]* )* ' )
    | (?P<end>    \Z )
    | (?P<bad>    (?s:.) )
    )
    """,
    re.VERBOSE,
)
# A field that is a value or a message, without comments or escapes in it, or a closing brace: all but a few.
# There must be one way only to match any text, or a mismatch behind it takes for ever.
_WHOLE = re.compile(
    r"""
    [ \t\r\n\v\f]* (?: \#[^\n]*\n [ \t\r\n\v\f]* )*
    (?:
      ([A-Za-z_][A-Za-z0-9_]*) [ \t]*
      (?: : [ \t]*
        (?: (-?[0-9]+ (?: \.[0-9]* )?) (?= [\s;,}>] | \Z )
          | " ([^"\\\n]*) " (?= \s* (?: [A-Za-z_}>;,] | \Z ) )
          | ([A-Za-z_][A-Za-z0-9_]*)
        ) (?: [ \t]* [;,] )?
      | :? [ \t]* (\{)
      )
    | (\})
    )
    """,
    re.VERBOSE,
)
NUMBER, STRING, WORD, OPENING, CLOSING = 2, 3, 4, 5, 6  # the groups of _WHOLE behind the name
_FIELD_AHEAD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\s*[:{<]")
_SEPARATOR = re.compile(r"[ \t\r\n\v\f]* (?: \#[^\n]*\n [ \t\r\n\v\f]* )* [;,]", re.VERBOSE)
_ESCAPE = re.compile(
    rb"\\(?: u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2}) | ([0-7]{1,3}) | [xX]([0-9a-fA-F]{1,2})"
    rb"| u([0-9a-fA-F]{4}) | U([0-9a-fA-F]{8}) | ([abfnrtv?\\'\"]) | . )",
    re.DOTALL | re.VERBOSE,
)
_LETTERS = dict(zip(b"abfnrtv?\\'\"", b"\a\b\f\n\r\t\v?\\'\"", strict=True))


_HINTS = {
    **dict.fromkeys("\u201c\u201d\u201e\u2018\u2019\xab\xbb", '; strings stand in straight quotes, "..."'),
    "=": "; a value stands behind ':'",
    "\uff1a": "; write ':'",
    "\xa0": "; it is a no-break space: write a blank",
    "\u3000": "; it is a wide space: write a blank",
}


class Token(NamedTuple):
    """One word: its kind (name, symbol, number, string or end), its spelling, and its offset in the text."""

    kind: str
    text: str
    offset: int


class Tokens:
    """The words of `text`, one at a time, with the next one in sight as `next`.

    fault: the offset of the last word that was complained of.
    """

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self.fault = 0
        self._text = text
        self._at = 0  # behind the last word taken
        self._read: Token | None = None  # the word that follows, and where it ends
        self._end = 0

    @property
    def next(self) -> Token:
        """The word that follows."""
        return self._read or self._look()

    def take(self) -> Token:
        """The next word, which is then behind us."""
        token = self._read or self._look()
        self._at, self._read = self._end, None
        return token

    def skip(self, symbol: str) -> bool:
        """Whether the next word is `symbol`, which is then behind us."""
        token = self._read or self._look()
        if token.text != symbol or token.kind != "symbol":
            return False
        self._at, self._read = self._end, None
        return True

    def skip_separator(self) -> None:
        """Put one ; or , behind us, if it is the next word."""
        found = _SEPARATOR.match(self._text, self._at)
        if found:
            self._at, self._read = found.end(), None

    def whole(self) -> re.Match[str] | None:
        """The next field as one match, group 1 its name, its value in the group that `lastindex` says; None for others.

        `accept` puts it behind us.
        """
        return _WHOLE.match(self._text, self._at)

    def accept(self, whole: re.Match[str]) -> None:
        """Put what `whole` gave behind us."""
        self._at, self._read = whole.end(), None

    def begins_field(self) -> bool:
        """Whether the next word is the name of a field, by what stands behind it."""
        return _FIELD_AHEAD.match(self._text, self.next.offset) is not None

    def skip_line(self) -> None:
        """Put the rest of the line behind us, whatever stands there."""
        end = self._text.find("\n", max(self._at, self.fault))
        self._at, self._read = len(self._text) if end < 0 else end, None

    def line(self, offset: int) -> int:
        """The line of `offset`, counted from 1."""
        return self._text.count("\n", 0, offset) + 1

    def error(self, token: Token, message: str) -> ParseError:
        """`message` with the place of `token` before it, as path:line:column."""
        self.fault = token.offset
        column = token.offset - self._text.rfind("\n", 0, token.offset)
        return ParseError(f"{self.path}:{self.line(token.offset)}:{column}: {message}")

    def _look(self) -> Token:
        match = _TOKEN.match(self._text, self._at)
        assert match  # the last alternative takes anything
        kind = match.lastgroup or "end"
        token = Token(kind, match[kind], match.start(kind))
        if kind == "bad":
            raise self.error(token, _complaint(self._text, token))
        self._read, self._end = token, match.end()
        return token


def _complaint(text: str, token: Token) -> str:
    line = text[token.offset :].split("\n", 1)[0]
    if token.text in "\"'":
        return f"the string opened with {token.text} is not closed on its line"
    if token.text.isdigit() or token.text == ".":
        return f"{line.split()[0]!r} is not a number"
    return f"unexpected character {token.text!r}{_HINTS.get(token.text, '') or _hint(line)}"


def _hint(line: str) -> str:
    if line.startswith(("//", "/*")):
        return "; a comment starts with #"
    return "" if line[:1].isascii() or line[:1].isprintable() else "; it is invisible: remove it"


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
    high, low, octal, hexadecimal, short, long, letter = match.groups()
    if high is not None:  # a surrogate pair
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10 | int(low, 16) & 0x3FF)).encode()
    if octal is not None:
        return bytes([int(octal, 8) & 255])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if letter is not None:
        return bytes([_LETTERS[letter[0]]])
    point = int(short or long or b"110000", 16)
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        told = match[0].decode("utf-8", "replace")
        raise ValueError(f"the string has an unknown escape {told}; write \\\\ for a backslash, in paths /")
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
