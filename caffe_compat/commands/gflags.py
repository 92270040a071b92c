"""Caffe's own spelling of flags (gflags) translated to the long options of a verb.

gflags takes one dash or two, `-f value` or `-f=value`, words joined by underscores, `-nof` for a boolean that is off,
and `-f=true` or `-f=false` for a boolean written out.

Given:   -solver s.prototxt -sigint_effect=stop -noshuffle
Result:  --solver s.prototxt --sigint-effect=stop --no-shuffle
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable

_FLAG = re.compile(r"--?(?P<name>[A-Za-z][A-Za-z0-9_-]+)(?P<value>=.*)?", re.DOTALL)
_NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_TRUE, _FALSE = {"=true", "=1", "=t", "=yes", "=y"}, {"=false", "=0", "=f", "=no", "=n"}


def translate(words: Iterable[str], parser: argparse.ArgumentParser) -> list[str]:
    """`words` with every gflags spelling of one of `parser`'s long options in that option's own spelling.

    A word that is no option of `parser` stays as it is, and so does everything after a bare `--`. A negative number
    is joined to the option before it, for argparse takes -5e-5 for an option.
    """
    options = {option: action for action in parser._actions for option in action.option_strings}
    translated: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*translated, word, *rest]
        if _NEGATIVE.fullmatch(word) and translated and _wants_value(translated[-1], options):
            translated[-1] += f"={word}"
        else:
            translated.append(_translate_word(word, options))
    return translated


def set_apart(words: Iterable[str], *begins: str) -> list[str]:
    """`words` with a bare `--` before the first that is no option or is in `begins`: the rest is another program's."""
    words = list(words)
    own = next((i for i, word in enumerate(words) if not word.startswith("-") or word in begins), len(words))
    return [*words[:own], "--", *words[own:]]


def _wants_value(word: str, options: dict[str, argparse.Action]) -> bool:
    return word in options and options[word].nargs != 0


def _translate_word(word: str, options: dict[str, argparse.Action]) -> str:
    found = _FLAG.fullmatch(word)
    if found is None:
        return word
    name, value = found["name"].replace("_", "-"), found["value"] or ""
    option = f"--{name}"
    if option in options:
        if options[option].nargs != 0 or not value:
            return option + value
        return _written_out(word, option, value, options)
    off = f"--no-{name[2:]}"
    return off if name.startswith("no") and not value and off in options else word


def _written_out(word: str, option: str, value: str, options: dict[str, argparse.Action]) -> str:
    """A boolean given as `-f=true` or `-f=false`."""
    if value.lower() in _TRUE:
        return option
    off = f"--no-{option[2:]}"
    return off if value.lower() in _FALSE and off in options else word
