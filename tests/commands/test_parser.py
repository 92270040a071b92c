"""Where words and options may stand on the command line, and what is said of words that have no place."""

from __future__ import annotations

import argparse

import pytest

from caffe_compat.commands import main
from caffe_compat.commands.parser import OneLineParser


def parser() -> OneLineParser:
    made = OneLineParser(prog="caffe-compat verb", allow_abbrev=False)
    made.add_argument("net", nargs="?", metavar="NET")
    made.add_argument("weights", nargs="?", metavar="WEIGHTS")
    made.add_argument("--keep", metavar="F")
    made.add_argument("--json", action="store_true")
    return made


@pytest.mark.parametrize(
    "words",
    [
        ["a.prototxt", "b.caffemodel", "--keep", "1", "--json"],
        ["a.prototxt", "--keep", "1", "b.caffemodel", "--json"],
        ["--json", "a.prototxt", "--keep=1", "b.caffemodel"],
        ["--json", "--keep", "1", "--", "a.prototxt", "b.caffemodel"],
    ],
)
def test_options_stand_anywhere_between_the_words(words):
    expected = argparse.Namespace(net="a.prototxt", weights="b.caffemodel", keep="1", json=True)
    assert parser().parse_args(words) == expected


def test_words_behind_two_dashes_are_no_options():
    assert parser().parse_args(["--json", "--", "-x", "--keep"]).weights == "--keep"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "n.prototxt", "w.caffemodel"], "; weights go behind --weights: --weights w.caffemodel; see"),
        (["test", "n.prototxt", "w.caffemodel.h5"], "; weights go behind --weights: --weights w.caffemodel.h5; see"),
        (["solve", "s.prototxt", "w.caffemodel"], "; weights go behind --weights: --weights w.caffemodel; see"),
        (["deploy", "n.prototxt", "x.txt"], "unrecognized arguments: x.txt; see"),
        (["show", "n.prototxt", "--weight", "w"], "; did you mean --weights?; see"),
        (["export", "--model", "n", "--weights", "w"], ": caffe-compat export NET WEIGHTS; see"),
        (["surgery", "n", "--weights=w"], ": caffe-compat surgery NET WEIGHTS; see"),
        (["sparsity", "n", "--caffemodel", "w"], ": caffe-compat sparsity NET WEIGHTS; see"),
        (["data", "info", "db", "--moost", "3"], "did you mean --most?; see caffe-compat data info --help"),
    ],
)
def test_a_word_without_a_place_is_told_where_it_belongs(words, told, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and told in said and said.count("\n") == 1


def test_options_between_the_words_of_a_tool_of_data(tmp_path, capsys):
    main(["data", "mean", str(tmp_path / "no_lmdb"), "--force-overwrite", str(tmp_path / "mean.binaryproto")])
    assert "no_lmdb" in (said := capsys.readouterr().err) and "unrecognized" not in said
