"""Numbers on a command line: what is no such number is refused in one line, before anything runs."""

import argparse

import pytest

from caffe_compat.commands import VERBS, main
from caffe_compat.commands.numbers import LARGEST, finite, input_shape, real_number, whole, whole_number

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


SHAPES = {
    "data=1,3,-8,8": "'-8': wanted a whole number, 1 or more",
    "data=0,3,8,8": "'0': wanted a whole number, 1 or more",
    "data=1,3,8,": "'': wanted a whole number, 1 or more",
    "data=1,3,8.5,8": "'8.5': wanted a whole number, 1 or more",
    "data=1,3,1_0,8": "'1_0': wanted a whole number, 1 or more",
    "data=1,3,\uff18,8": "'\uff18': wanted a whole number, 1 or more",
    "data=1,x": "'x': wanted a whole number, 1 or more",
    "data=2147483648": "'2147483648': wanted a whole number, 1 to 2147483647",
    "data=99999999999999999999999": "wanted a whole number, 1 to 2147483647",
    "data=65536,32768": "is 2147483648 values; Caffe's blobs hold 2147483647",
    "data=": "is not of the form blob=1,3,32,32",
    "=1,2": "is not of the form blob=1,3,32,32",
    "data": "is not of the form blob=1,3,32,32",
    "": "is not of the form blob=1,3,32,32",
}


@pytest.mark.parametrize("text", SHAPES)
def test_a_shape_is_sizes_from_one_that_a_blob_of_caffe_can_have(text):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        input_shape(text)
    assert f"'{text}'" in str(caught.value) and SHAPES[text] in str(caught.value)


def test_shapes_are_read_with_blanks_and_any_number_of_axes():
    assert input_shape("data=1, 3,32 ,32") == ("data", (1, 3, 32, 32))
    assert input_shape("a=b=5".replace("=b", "")) == ("a", (5,)) and input_shape("x=2147483647") == ("x", (LARGEST,))


WITH_SHAPES = [
    "show N",
    "check N",
    "classify --model N --weights W data.h5",
    "compare N N",
    "decompose N W --keep 0.9",
    "export N W --out o.onnx",
    "verify N W --original N --original-weights W",
    "prune N W --criterion l1",
    "sparsity N W",
    "surgery N W --fully-convolutional",
    "deploy N",
]


@pytest.mark.parametrize("words", WITH_SHAPES)
def test_no_verb_takes_a_shape_that_is_none_or_of_a_blob_that_is_none(problem, capsys, words):
    import numpy as np

    import caffe_compat as cc

    net = cc.read_net("net.prototxt")
    shapes = {"conv1": [(6, 1, 3, 3), (6,)], "conv2": [(5, 6, 3, 3), (5,)], "ip1": [(2, 80), (2,)]}
    weights = {name: tuple(np.ones(shape, np.float32) for shape in each) for name, each in shapes.items()}
    cc.write_model(cc.Model(net, weights), "n.prototxt", "w.caffemodel")
    given = ["n.prototxt" if word == "N" else "w.caffemodel" if word == "W" else word for word in words.split()]
    option = "--shape" if words.startswith("deploy") else "--input"
    before = sorted(problem.folder.iterdir())
    with pytest.raises(SystemExit) as stopped:
        main([*given, option, "data=1,1,-8,8"])
    assert stopped.value.code == 2 and f"argument {option}: 'data=1,1,-8,8': '-8'" in capsys.readouterr().err
    assert main([*given, option, "dta=1,1,8,8"]) == 2
    assert "net 'Small' has no input 'dta'; did you mean 'data'?" in capsys.readouterr().err
    assert sorted(problem.folder.iterdir()) == before


def test_every_verb_with_shapes_is_in_the_list():
    import importlib

    found = set()
    for name, verb in VERBS.items():
        parser = argparse.ArgumentParser()
        importlib.import_module(f"caffe_compat.commands.{verb.module}").add_arguments(parser)
        if any(action.type is input_shape for action in parser._actions):
            found.add(name)
    assert found == {words.split()[0] for words in WITH_SHAPES}


@pytest.mark.parametrize(
    "text", ["99999999999999999999999", "abc", "", "1.5", "\uff12", "1_0", "\xb2", "--5", "+5", " 5"]
)
def test_a_number_inside_a_list_is_read_as_strictly(text):
    with pytest.raises(ValueError):
        whole(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "abc", "", "\uff12", "1_0", "1e999", "--5"])
def test_a_real_number_inside_a_list_is_finite(text):
    with pytest.raises(ValueError):
        finite(text)


@pytest.mark.parametrize(
    "words",
    [
        "decompose net.prototxt w --ranks 1_0,4",
        "decompose net.prototxt w --budget parameters=nan",
        "groups split net.prototxt w --parts conv1=1_0",
        "surgery net.prototxt w --classifier ip1=\xb2",
        "prune net.prototxt w --criterion l1 --ratios conv1=nan",
        "shrink solver.prototxt --ranks \uff12",
        "classify data.h5 --model net.prototxt --weights w --mean nan,1",
    ],
)
def test_odd_numbers_inside_lists_are_one_line(problem, capsys, words):
    import numpy as np

    import caffe_compat as cc

    shapes = {"conv1": [(6, 1, 3, 3), (6,)], "conv2": [(5, 6, 3, 3), (5,)], "ip1": [(2, 80), (2,)]}
    weights = {name: tuple(np.ones(shape, np.float32) for shape in each) for name, each in shapes.items()}
    cc.write_model(cc.Model(cc.read_net("net.prototxt"), weights), "n.prototxt", "w")
    try:
        status = main(words.split(" "))
    except SystemExit as stopped:
        status = stopped.code
    line = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and "fault of caffe_compat" not in line
    assert words.split("=")[-1].split()[-1].split(",")[0] in line
