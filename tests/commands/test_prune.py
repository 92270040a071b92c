"""`caffe-compat prune` trains with ranks that shrink, and tells the first and the last."""

import importlib.util

import caffe_compat as cc
from caffe_compat.commands import main
from tests.solver.conftest import one_thread

__all__ = ["one_thread"]


def test_ranks_and_files_are_told(problem, capsys):
    assert main(["prune", "solver.prototxt", "--ratio", "0.7", "--lra-type", "svd", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines[:2]] == ["conv1_lowrank", "conv2_lowrank"]
    net, weights = lines[2].removeprefix("Saved as ").split(" and ")
    assert cc.read_model(net, weights).weights
    if importlib.util.find_spec("matplotlib"):
        assert lines[3] == "Ranks drawn in small.ranks.png"
        assert (problem.folder / "small.ranks.png").read_bytes().startswith(b"\x89PNG")


def test_weights_that_lack_a_layer_are_refused_before_training(problem, capsys):
    net = cc.read_net("net.prototxt")
    weights = cc.Net(net).weights()
    del weights["ip1"]
    cc.write_model(cc.Model(net, weights), "net.prototxt", "part.caffemodel")
    assert main(["prune", "solver.prototxt", "--weights", "part.caffemodel", "--threads", "1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("caffe-compat: part.caffemodel: nothing for layer 'ip1'; give the weights of this net, or")
    assert not list(problem.folder.glob("small*.caffemodel"))
