"""Nothing that comes from a file drives a terminal, forges a line or fills the screen."""

from __future__ import annotations

import json

import pytest

from caffe_compat.errors import ParseError
from caffe_compat.showing import message, nearest, visible, visible_lines

CLEAR = "\x1b[2J"  # a terminal clears its screen at this
HARMFUL = [CLEAR, "\x9b2J", "\x07", "\x08", "\r", "\n", "\u202e", "\u2028", "\u2066", "\x7f", "\udcff", "\x00"]


@pytest.mark.parametrize("sign", HARMFUL)
def test_what_a_terminal_obeys_is_spelled(sign: str) -> None:
    assert visible(f"a{sign}b").isprintable() and visible(f"a{sign}b") != "ab"
    assert f"a{sign}b" not in visible(f"a{sign}b")


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("conv1/3x3", "über", "层", "a b", "it's", "\\n"):
        assert visible(name) == visible_lines(name) == message(name) == name


def test_lines_and_tabs_stay_where_lines_are_shown() -> None:
    assert visible_lines(f"a\tb\n{CLEAR}c\r") == "a\tb\n\\u001b[2Jc\\u000d".replace("\\u000d", "\\r")


def test_json_stays_json() -> None:
    text = json.dumps({"name": "a\x9b\u202e\x7f"}, ensure_ascii=False)
    assert json.loads(visible_lines(text)) == {"name": "a\x9b\u202e\x7f"}


@pytest.mark.parametrize("name", ["x" * 5000, f"'{'x ' * 5000}'", f"'{'x' * 300}'"])
def test_names_are_cut_at_200_characters(name: str) -> None:
    said = message(f"layer {name}: has no weights")
    assert len(said) < 240 and said.startswith("layer ") and said.endswith(" has no weights") and "..." in said


def test_a_path_of_many_folders_is_not_cut() -> None:
    path = "/folder" * 60
    assert message(f"{path}: cannot be read") == f"{path}: cannot be read"


def test_a_message_has_at_most_4000_characters() -> None:
    assert len(message("word " * 100_000)) <= 4000


def test_errors_are_one_line_whatever_they_are_made_of() -> None:
    error = ParseError(f"a.prototxt:1:1: '{CLEAR}\nI1129 forged line'")
    assert str(error) == "a.prototxt:1:1: '\\u001b[2J I1129 forged line'"


def test_the_nearest_names_are_told_and_of_many_only_the_first() -> None:
    assert nearest("Conv1", ["data", "conv1", "conv2"]) == "did you mean 'conv1'?"
    assert nearest("conv9", ["conv1", "conv2", "prob"]) == "did you mean 'conv2' or 'conv1'?"
    assert nearest("zzz", [f"b{i}" for i in range(20)]) == "it has: b0, b1, b2, b3, b4, b5, b6, b7 and 12 more"
    assert nearest("zzz", [], "its inputs") == "its inputs: none"
