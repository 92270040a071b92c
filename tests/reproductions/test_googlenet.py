"""The public GoogLeNet: its ranks are the paper's, and only what becomes cheaper is decomposed."""

import numpy as np

import caffe_compat as cc
from reproductions.googlenet.measure import baseline, decomposed, model_on
from tests.conftest import shared
from tests.paper.published import published


def test_ranks_of_the_public_model_are_those_that_the_paper_draws():
    run = baseline(cc.read_weights(shared("models", "googlenet", "bvlc_googlenet.caffemodel")))
    drawn = published("Figure 5", "GoogLeNet none", "rank")
    differences = {layer: rank - drawn[layer] for layer, (rank, _) in run.ranks.items()}
    assert len(differences) == 57  # of 59: the file lacks the two side branches
    assert differences.pop("conv1/7x7_s2") == -3
    assert {abs(each) for each in differences.values()} <= {0, 1}  # read off the drawing to one filter


def test_a_layer_is_decomposed_where_its_rank_is_below_break_even(tmp_path):
    draw = np.random.default_rng(0)
    full = draw.standard_normal((64, 3, 7, 7)).astype(np.float32)
    low = (draw.standard_normal((64, 2)) @ draw.standard_normal((2, 64))).astype(np.float32).reshape(64, 64, 1, 1)
    weights = {"conv1/7x7_s2": (full, np.zeros(64, np.float32)), "conv2/3x3_reduce": (low, np.zeros(64, np.float32))}
    model = model_on(tmp_path, weights)
    kept = ("data", "conv1/7x7_s2", "conv2/3x3_reduce")
    for index in reversed(range(len(model.net.layer))):
        if model.net.layer[index].name not in kept:
            del model.net.layer[index]
    small, chosen = decomposed(model, 0.99)
    assert chosen == {"conv2/3x3_reduce": 2}
    assert [layer.name for layer in small.net.layer][1:] == [
        "conv1/7x7_s2",
        "conv2/3x3_reduce_lowrank",
        "conv2/3x3_reduce_linear",
    ]


def test_the_tested_net_has_no_side_branches(tmp_path):
    names = [layer.name for layer in model_on(tmp_path, {}).net.layer]
    assert not [name for name in names if name.startswith(("loss1", "loss2"))]
    assert sum(layer.type == "Convolution" for layer in model_on(tmp_path, {}).net.layer) == 57
