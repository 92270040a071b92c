"""The parser of verbs: options stand anywhere, a complaint is one line, and it names the way that was meant."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

BAD_INPUT = 2  # exit status
WEIGHTS = (".caffemodel", ".h5", ".safetensors")  # how files of weights end
_FILES = {"--model": "NET", "--net": "NET", "--prototxt": "NET", "--weights": "WEIGHTS", "--caffemodel": "WEIGHTS"}
_MUST_BE_LAST = (argparse.PARSER, argparse.REMAINDER)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and the exit status that of any other bad input.

    Options may stand between the words that belong together, as in `prune NET --criterion l2 WEIGHTS`.
    """

    is_between_passes = False
    _given: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        if message.startswith("the following arguments are required"):
            message += next(filter(None, map(self._as_words, self._given)), "")
        self.exit(BAD_INPUT, f"caffe-compat: {message}; see {self.prog} --help\n")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        words = list(args or ())
        fixed = any(action.nargs in _MUST_BE_LAST for action in self._actions)
        if self.is_between_passes or fixed or "--" in words:
            return super().parse_known_args(words, namespace)
        self._given = words
        self.is_between_passes = True  # for argparse parses twice, the options first, by this method
        try:
            return self.parse_known_intermixed_args(words, namespace)
        finally:
            self.is_between_passes = False

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.refuse(unknown)
        return known

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Complain of the words that the parser has no place for."""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{self._way_out(unknown)}")

    def _way_out(self, unknown: Sequence[str]) -> str:
        """What was meant by the first of the `unknown` words, to end the complaint; empty where nobody can tell."""
        first = unknown[0].partition("=")[0]
        options = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        if not first.startswith("-"):
            is_weights = first.endswith(WEIGHTS) and "--weights" in options
            return f"; weights go behind --weights: --weights {first}" if is_weights else ""
        near = difflib.get_close_matches(first, options, n=1)
        return self._as_words(first) or (f"; did you mean {near[0]}?" if near else "")

    def _as_words(self, word: str) -> str:
        """That the file which `word` would name stands alone, where it is an option of other verbs only."""
        places = [str(action.metavar) for action in self._actions if not action.option_strings]
        option = word.partition("=")[0]
        if _FILES.get(option) not in places or option in self._option_string_actions:
            return ""
        files = " ".join(place for place in places if place in _FILES.values())
        return f"; {option} is not needed, files are words of their own: {self.prog} {files}"
