"""Numbers on a command line: what is no such number is refused in one line, before anything runs."""

import argparse

import pytest

from caffe_compat.commands import VERBS, main
from caffe_compat.commands.numbers import LARGEST, real_number, whole_number

ODD = ["99999999999999999999999", "4294967296", "abc", "", "1.5", "nan", "\uff12", "1_0"]


@pytest.mark.parametrize("text", ODD)
def test_a_whole_number_is_one_that_caffes_fields_hold(text):
    with pytest.raises(argparse.ArgumentTypeError, match="wanted a whole number"):
        whole_number()(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "", "abc", "1e999"])
def test_a_real_number_is_finite(text):
    with pytest.raises(argparse.ArgumentTypeError, match="wanted a number"):
        real_number()(text)


def test_bounds_are_kept_and_told():
    assert [whole_number(0, 3)(text) for text in ("0", "3")] == [0, 3]
    assert whole_number()(str(-LARGEST)) == -LARGEST and real_number(0, 1)("0.5") == 0.5
    with pytest.raises(argparse.ArgumentTypeError, match="'4': wanted a whole number, 0 to 3"):
        whole_number(0, 3)("4")
    with pytest.raises(argparse.ArgumentTypeError, match="'-1': wanted a number, 0 or more"):
        real_number(0)("-1")


def test_no_option_of_a_verb_takes_bare_python_numbers():
    import importlib

    for verb in VERBS.values():
        parser = argparse.ArgumentParser()
        importlib.import_module(f"caffe_compat.commands.{verb.module}").add_arguments(parser)
        assert not [action.dest for action in parser._actions if action.type in (int, float)], verb.module


@pytest.mark.parametrize(
    "words",
    [
        "solve solver.prototxt --max-iter 1 --threads 99999",
        "solve solver.prototxt --max-iter 1 --threads -1",
        "test net.prototxt --weights w --iterations -3",
        "time net.prototxt --iterations 1 --warm-up -1",
        "show net.prototxt --level 99999999999999",
        "compare net.prototxt net.prototxt --seed -1",
        "deploy net.prototxt --batch 99999999999999999999",
        "show net.prototxt --keep nan",
    ],
)
def test_odd_numbers_are_one_line(problem, capsys, words):
    try:
        status = main(words.split())
    except SystemExit as stopped:
        status = stopped.code
    lines = capsys.readouterr().err.splitlines()
    option = words.split()[-2]
    assert status == 2 and lines[-1].startswith("caffe-compat: ") and option in lines[-1]
