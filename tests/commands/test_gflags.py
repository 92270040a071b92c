"""Every spelling that Caffe's gflags accept reaches the option it names."""

import argparse

import pytest

from caffe_compat.commands.gflags import translate


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("solver_file", nargs="?")
    parser.add_argument("-s", "--solver")
    parser.add_argument("--sigint-effect", default="stop")
    parser.add_argument("--force-decay", type=float)
    parser.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True)
    return parser


@pytest.mark.parametrize(
    "words",
    [
        ["-solver", "a b.prototxt"],
        ["--solver", "a b.prototxt"],
        ["-solver=a b.prototxt"],
        ["--solver=a b.prototxt"],
    ],
)
def test_one_dash_or_two_with_space_or_equals_sign(words):
    assert parser().parse_args(translate(words, parser())).solver == "a b.prototxt"


@pytest.mark.parametrize("words", [["-sigint_effect", "none"], ["--sigint_effect=none"], ["--sigint-effect=none"]])
def test_underscores_and_dashes_name_the_same_option(words):
    assert parser().parse_args(translate(words, parser())).sigint_effect == "none"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("-shuffle", True),
        ("--shuffle=true", True),
        ("-shuffle=1", True),
        ("-noshuffle", False),
        ("--noshuffle", False),
        ("-shuffle=false", False),
        ("--no-shuffle", False),
    ],
)
def test_a_boolean_is_switched_on_off_or_written_out(word, value):
    assert parser().parse_args(translate([word], parser())).shuffle is value


@pytest.mark.parametrize("number", ["-1", "-0.5", "-.5", "-5e-5", "-1E+3"])
def test_a_negative_number_is_the_value_of_the_option_before_it(number):
    assert parser().parse_args(translate(["-force_decay", number], parser())).force_decay == float(number)


def test_words_that_are_no_options_stay():
    words = ["net.prototxt", "-s", "x", "-unknown_flag", "--", "-solver"]
    assert translate(words, parser()) == words
