"""Ranks shrink while the net trains: what the net computes stays, and so do iteration, data and momentum."""

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.recipes.rank_pruning import absorb, carry_state
from caffe_compat.recipes.training import Surroundings

PAIRS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 7 dim: 6 } } }
layer { name: "a_lowrank" type: "Convolution" bottom: "data" top: "a_lowrank"
  convolution_param { num_output: 6 kernel_size: 3 group: 2 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "a_linear" type: "Convolution" bottom: "a_lowrank" top: "a"
  convolution_param { num_output: 8 kernel_size: 1 group: 2 bias_term: BIAS weight_filler { type: "xavier" } } }
layer { name: "b_lowrank" type: "InnerProduct" bottom: "a" top: "b_lowrank"
  inner_product_param { num_output: 5 bias_term: false weight_filler { type: "xavier" } TRANSPOSE } }
layer { name: "b_linear" type: "InnerProduct" bottom: "b_lowrank" top: "b"
  inner_product_param { num_output: 3 bias_term: BIAS weight_filler { type: "xavier" } TRANSPOSE } }
"""


def low_rank_model(bias, transpose):
    """A net of pairs whose X_lowrank weights have rank 2 in each group, and rank 3."""
    text = PAIRS.replace("BIAS", bias).replace("TRANSPOSE", "transpose: true" if transpose else "")
    net = cc.parse_text(text, cc.NetParameter)
    weights = cc.Net(net).weights()
    random = np.random.default_rng(1)
    halves = [random.standard_normal((3, 2)) @ random.standard_normal((2, 18)) for _ in range(2)]
    weights["a_lowrank"] = (np.concatenate(halves).reshape(6, 2, 3, 3).astype(np.float32),)
    columns = (random.standard_normal((5, 3)) @ random.standard_normal((3, 160))).astype(np.float32)
    weights["b_lowrank"] = (columns.T.copy() if transpose else columns,)
    return cc.Model(net, weights)


@pytest.mark.parametrize("bias", ["true", "false"])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("method", ["pca", "svd"])
def test_a_weight_of_low_rank_gives_up_its_ranks_without_a_change_of_the_outputs(bias, transpose, method):
    model = low_rank_model(bias, transpose)
    a, b = model.weights["a_lowrank"][0], model.weights["b_lowrank"][0]
    mixings = {
        "a_lowrank": cc.factorize(a, 4, method, 2).coefficients,
        "b_lowrank": cc.factorize(b.T if transpose else b, 3, method).coefficients,
    }
    small = absorb(model, mixings)
    assert small.weights["a_lowrank"][0].shape == (4, 2, 3, 3)
    assert small.weights["a_linear"][0].shape == (8, 2, 1, 1)
    data = np.random.default_rng(2).standard_normal((2, 4, 7, 6)).astype(np.float32)
    before, after = (cc.Net(each)(data=data)["b"].detach().numpy() for each in (model, small))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


@pytest.fixture
def run(problem):
    return cc.prune_ranks("solver.prototxt", keep=0.7)


def test_ranks_only_fall_and_stand_in_the_ranks_file_a_line_a_test(run, problem):
    assert run.layers == ("conv1_lowrank", "conv2_lowrank")
    assert run.ranks.shape == (2, 2)
    assert (run.ranks[1] <= run.ranks[0]).all() and (run.ranks[0] < [6, 5]).all()
    np.testing.assert_array_equal(np.loadtxt(problem.folder / "small.ranks", dtype=int), run.ranks)


def test_the_last_net_has_the_last_ranks_and_takes_the_last_weights(run):
    net = cc.Net(cc.read_model(run.net, run.weights), "TEST")
    assert [len(net.params[layer][0]) for layer in run.layers] == run.ranks[-1].tolist()
    assert not net.load_report.missing


def test_iterations_go_on_over_all_nets(run, problem):
    assert (problem.folder / "small_iter_20.solverstate").exists()
    name = "_".join(map(str, run.ranks[0]))
    solver = cc.Solver(f"small_{name}_solver.prototxt")
    solver.restore(f"small_{name}.solverstate")
    assert solver.iteration == 10
    straight = cc.Solver("solver.prototxt")
    straight.step(10)
    assert solver.net.layers["data"].cursor == straight.net.layers["data"].cursor


def test_a_net_in_the_solver_loses_the_same_ranks(run, problem):
    problem.edit(
        "solver.prototxt", 'net: "net.prototxt"', f"net_param {{ {(problem.folder / 'net.prototxt').read_text()} }}"
    )
    again = cc.prune_ranks("solver.prototxt", keep=0.7)
    np.testing.assert_array_equal(again.ranks, run.ranks)
    assert again.iterations == run.iterations == (10, 20)


def test_after_pruning_iter_ranks_stay(problem):
    made = cc.prune_ranks("solver.prototxt", keep=0.5, pruning_iter=0)
    assert made.ranks.tolist() == [[6, 5], [6, 5]]


def test_an_update_of_the_smaller_net_moves_its_product_as_the_larger_ones_momentum_would(problem):
    """With orthonormal C and all of W kept, C (B - v_B) = W - v_W where v_W lies in the span of C."""
    cc.prune_ranks("solver.prototxt", keep=1.0, max_iter=10)
    place = Surroundings()
    before = place.solver(cc.read_solver("small_6_5_solver.prototxt"))
    before.restore("small_iter_10.solverstate")
    model = before.model()
    mixing = cc.factorize(model.weights["conv2_lowrank"][0], 3, "pca").coefficients
    mixings = {"conv2_lowrank": mixing}
    small = absorb(model, mixings)
    cc.write_model(small, "smaller.prototxt")
    param = cc.read_solver("small_6_5_solver.prototxt")
    param.net = "smaller.prototxt"
    after = place.solver(param)
    carry_state(before, after, mixings)
    olds = {p.users[0]: h.numpy() for p, h in zip(before.net.learnable_params, before.state.history, strict=True)}
    news = {p.users[0]: h.numpy() for p, h in zip(after.net.learnable_params, after.state.history, strict=True)}
    c = mixing.reshape(5, 3)
    low = olds["conv2_lowrank", 0].reshape(5, -1)
    np.testing.assert_allclose(news["conv2_lowrank", 0].reshape(3, -1), c.T @ low, atol=1e-7)
    np.testing.assert_allclose(
        news["conv2_linear", 0].reshape(5, 3), olds["conv2_linear", 0].reshape(5, 5) @ c, atol=1e-7
    )
    for same in (("conv1_lowrank", 0), ("conv2_linear", 1), ("ip1", 0)):
        np.testing.assert_array_equal(news[same], olds[same])
    assert after.iteration == before.iteration == 10


def test_memory_that_is_no_sum_of_gradients_starts_anew_and_says_so(problem, caplog):
    problem.edit("solver.prototxt", "momentum: 0.9", 'momentum: 0.9 momentum2: 0.99 type: "Adam"')
    with caplog.at_level("INFO"):
        cc.prune_ranks("solver.prototxt", keep=0.7, max_iter=10)
    assert "Layer conv1_lowrank: the solver's memory of blob 0 starts anew" in caplog.text


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("test_interval: 10", "", "test_interval is missing"),
        ('net: "net.prototxt"', "", "one net to train is wanted"),
    ],
)
def test_a_solver_that_cannot_be_pruned_is_one_line(problem, old, new, message):
    problem.edit("solver.prototxt", old, new)
    with pytest.raises(cc.CaffeCompatError, match=message):
        cc.prune_ranks("solver.prototxt")


def test_a_pair_without_its_linear_layer_is_refused(problem):
    problem.edit("net.prototxt", 'name: "conv2"', 'name: "conv2_lowrank"')
    with pytest.raises(cc.RankError, match="layer 'conv2_lowrank' has no Convolution of its own"):
        cc.prune_ranks("solver.prototxt")


def test_an_unknown_method_is_refused(problem):
    with pytest.raises(cc.RankError, match="method is 'cp'; allowed: pca, svd"):
        cc.prune_ranks("solver.prototxt", method="cp")
