"""A net and weights in each other's place: every verb and function that takes both says to exchange them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat import pycaffe
from caffe_compat.commands import VERBS, main
from caffe_compat.pycaffe.bindings import CheckError

# of each verb that takes weights: the words with W for weights and N for the net, or S for the solver
WORDS = [
    "solve W --weights S",
    "solve --solver W --snapshot S",
    "train -solver W -weights S",
    "test W --weights N",
    "test -model W -weights N",
    "classify --model W --weights N image.png",
    "show W --weights N",
    "deploy W --weights N",
    "compare W N --weights N",
    "compare N W --weights W --other-weights N",
    "decompose W N --keep 0.9",
    "shrink W --weights S",
    "prune W N --criterion l1 --ratio 0.5",
    "prune W --weights S",
    "sparsity W N",
    "surgery W N --fully-convolutional --out o",
    "export W N --out o.onnx",
    "verify N W --original W --original-weights N",
    "verify W N --original N --original-weights W",
    "groups split W N",
    "groups merge W N",
    "data extract N W ip1 o 1 npy",
]
FREE = {"log", "time", "layers", "check", "convert", "python", "upgrade", "completion"}  # one file, or either order


@pytest.fixture(params=["w.caffemodel", "w.caffemodel.h5", "w"])
def files(request: pytest.FixtureRequest, problem) -> dict[str, str]:
    """The names of the weights, the net and the solver, in the working directory."""
    blobs = {"ip1": (np.zeros((2, 80), np.float32), np.zeros(2, np.float32))}
    model = cc.Model(cc.read_net("net.prototxt"), blobs)
    cc.write_model(model, "copy.prototxt", request.param)
    if request.param == "w":  # names say nothing
        Path("net.prototxt").rename("n")
        problem.edit("solver.prototxt", "net.prototxt", "n")
        Path("solver.prototxt").rename("s")
        return {"W": "w", "N": "n", "S": "s"}
    return {"W": request.param, "N": "net.prototxt", "S": "solver.prototxt"}


def test_each_verb_that_takes_both_is_in_the_list() -> None:
    assert {words.split()[0] for words in WORDS} | FREE == set(VERBS)


@pytest.mark.parametrize("words", WORDS)
def test_a_verb_says_to_exchange_the_two_and_writes_nothing(files, words, capsys) -> None:
    Path("image.png").write_bytes(b"")
    before = set(Path().iterdir())
    assert main([files.get(word, word) for word in words.split()]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("caffe-compat: ")]
    (other, kind) = ("S", "a solver") if "S" in words.split() else ("N", "a net")
    assert lines == [f"caffe-compat: {files['W']} holds weights and {files[other]} {kind}; exchange the two"]
    assert set(Path().iterdir()) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda w, n, s: cc.read_model(w, n),
        lambda w, n, s: cc.read_model(Path(w), [Path(n)]),
        lambda w, n, s: cc.read_model(w, f"{w},{n}"),
        lambda w, n, s: cc.check((w, n)),
        lambda w, n, s: cc.Solver(w, weights=s),
        lambda w, n, s: cc.shrink(w, weights=[s]),
        lambda w, n, s: cc.prune_ranks(w, s),
        lambda w, n, s: pycaffe.Net(w, n, 1),
        lambda w, n, s: pycaffe.Net(w, 1, weights=n),
    ],
)
def test_a_function_says_it_too(files, call) -> None:
    with pytest.raises((cc.ParseError, CheckError), match=r"w\S* holds weights and \S+ a (net|solver); exch"):
        call(files["W"], files["N"], files["S"])


def test_what_is_neither_a_net_nor_a_solver_is_not_to_be_exchanged(files, capsys) -> None:
    for content, told in (("two words", "this is text, not weights"), ("<html>", "this is a web page")):
        Path("other").write_text(content)
        assert main(["show", files["W"], "--weights", "other"]) == 2
        assert "exchange" not in (error := capsys.readouterr().err) and (told in error or "HDF5 holds" in error)
