"""Text that came from outside, made safe to show: on one line, without control characters, and of bounded length.

A name in a net may hold what a terminal obeys: escape sequences that move its cursor, retitle or recolour it, marks
that turn the direction of writing, line ends that forge a line of a log. Whatever shows names passes through here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from html import escape

MOST_NAME = 200  # characters of a name that a message shows
MOST_MESSAGE = 4000

UNSAFE = "\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
"""Inside brackets of a regular expression: what a terminal may obey, or cannot show."""
# C0 and C1 control characters, marks of direction and line, lone halves of surrogate pairs, which cannot be written
_UNSAFE = re.compile(f"[{UNSAFE}]")
_UNSAFE_BUT_LINES = re.compile(_UNSAFE.pattern.replace("\x0a-\x1f", "\x0b-\x1f"))
_NAMED = {"\n": "\\n", "\r": "\\r"}
_LONG_QUOTED = re.compile(rf"'([^']{{{MOST_NAME + 1},}})'")
_LONG_WORD = re.compile(rf"[^\s/']{{{MOST_NAME + 1},}}")


def nearest(name: str, known: Iterable[str], there: str = "it has", most: int = 8) -> str:
    """The end of a message on a `name` that is none of `known`: those most like it, else the first few of them all."""
    names = list(dict.fromkeys(known))
    lowered = {each.lower(): each for each in reversed(names)}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    likeness = [difflib.SequenceMatcher(None, each, name.lower()).ratio() for each in near]
    if near:
        best = [repr(lowered[each]) for each, like in zip(near, likeness, strict=True) if like > likeness[0] - 0.1]
        return f"did you mean {' or '.join(best)}?"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{there}: {', '.join(names[:most]) or 'none'}{more}"


def html_table(title: str, rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows, the first of them the header, as HTML for a notebook; the first `left` columns are text, others numbers."""
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        sides = ("left" if place < left else "right" for place in range(len(row)))
        cells = zip(row, sides, strict=True)
        lines.append("".join(f'<{tag} style="text-align: {side}">{in_html(cell)}</{tag}>' for cell, side in cells))
    return f"<table><caption>{in_html(title)}</caption>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def visible(text: str) -> str:
    """`text` with everything that is no printable character or tab spelled as an escape: \\u001b, \\n, \\u202e.

    The escapes are those of JSON, which stays JSON so.
    """
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_spelled, text)


def in_html(text: str) -> str:
    """`visible`, and escaped for HTML."""
    return escape(visible(text))


def visible_lines(text: str) -> str:
    """As `visible`, for text of several lines: line ends stay."""
    return _UNSAFE_BUT_LINES.sub(_spelled, text)


def message(text: str) -> str:
    """`text` as one line for people: control characters spelled, names cut at 200 characters, 4000 in all."""
    text = text if text.isprintable() else visible(" ".join(text.split("\n")))
    if len(text) <= MOST_NAME:
        return text
    text = _LONG_WORD.sub(lambda found: _cut(found[0]), _LONG_QUOTED.sub(lambda found: f"'{_cut(found[1])}'", text))
    return text if len(text) <= MOST_MESSAGE else f"{text[: MOST_MESSAGE - 1000]} ... {text[-900:]}"


def words_of(error: BaseException) -> str:
    """What an exception says, empty where it says nothing or, being of somebody's own making, raises another."""
    try:
        return str(error)
    except Exception:
        return ""


def told(error: BaseException) -> str:
    """An exception as its type and what it says."""
    return f"{type(error).__name__}: {words}" if (words := words_of(error)) else type(error).__name__


def _cut(name: str) -> str:
    return f"{name[: MOST_NAME - 3]}..." if len(name) > MOST_NAME else name


def _spelled(found: re.Match[str]) -> str:
    return _NAMED.get(found[0]) or f"\\u{ord(found[0]):04x}"
