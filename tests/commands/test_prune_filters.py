"""caffe-compat prune NET WEIGHTS: files, certificate, what verify says of them, and one line for what cannot be."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main

NET = """
name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "b" top: "ip" inner_product_param { num_output: 4 } }
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = cc.parse_text(NET, cc.NetParameter)
    rng = np.random.default_rng(0)
    blobs = {"a": [(8, 3, 3, 3), (8,)], "b": [(6, 8, 1, 1), (6,)], "ip": [(4, 96), (4,)]}
    weights = {name: tuple(rng.normal(size=s).astype(np.float32) for s in shapes) for name, shapes in blobs.items()}
    weights["a"][0][[2, 5]] = 0
    cc.write_model(cc.Model(net, weights), "n.prototxt", "n.caffemodel")
    return ["n.prototxt", "n.caffemodel"]


def test_a_share_of_each_layer_goes_and_verify_reads_it_back(files, capsys):
    assert main(["prune", *files, "--criterion", "l1", "--remove", "0.5", "--out", "small"]) == 0
    small = cc.read_model("small.prototxt", "small.caffemodel")
    assert [small.weights[name][0].shape for name in ("a", "b", "ip")] == [(4, 3, 3, 3), (3, 4, 1, 1), (4, 48)]
    assert json.loads(Path("small.certificate.json").read_text())["layers"]["a"]["largest"] == 8
    again = ["--original", "n.prototxt", "--original-weights", "n.caffemodel", "--no-opencv"]
    verify = ["verify", "small.prototxt", "small.caffemodel", *again, "--certificate", "small.certificate.json"]
    assert main(verify) == 0
    small.weights["b"][0][0] += 1
    cc.write_model(small, "small.prototxt", "small.caffemodel")
    capsys.readouterr()
    assert main(verify) == 2
    assert "layer 'b': weights are 1 from what the original's filters leave" in capsys.readouterr().err


def test_shares_of_single_layers_leave_the_others_whole(files):
    assert main(["prune", *files, "--ratios", "b=0.5", "--out", "small"]) == 0
    small = cc.read_model("small.prototxt", "small.caffemodel")
    assert [small.weights[name][0].shape for name in ("a", "b")] == [(8, 3, 3, 3), (3, 8, 1, 1)]
    assert main(["prune", *files, "--ratios", "b=0.5", "--remove", "0.25", "--out", "smaller"]) == 0
    assert len(cc.read_model("smaller.prototxt", "smaller.caffemodel").weights["a"][0]) == 6


def test_filters_of_zeros_go_and_outputs_stay(files, capsys):
    assert main(["prune", *files, "--criterion", "zeros", "--out", "small"]) == 0
    found = json.loads(Path("small.certificate.json").read_text())
    assert found["layers"]["a"]["kept"] == [0, 1, 3, 4, 6, 7]
    assert found["blobs"]["ip"] < 1e-6


def test_a_layer_has_a_preference_of_its_own(files):
    """A preference far below 0 leaves one filter."""
    words = ["prune", *files, "--criterion", "eprune", "--preference-beta", "0.5"]
    assert main([*words, "--out", "same"]) == 0
    assert main([*words, "--preference-betas", "b=100", "--out", "own"]) == 0
    same, own = (cc.read_model(f"{out}.prototxt", f"{out}.caffemodel").weights for out in ("same", "own"))
    assert len(own["b"][0]) == 1 < len(same["b"][0]) and len(own["a"][0]) == len(same["a"][0])


def test_cut_layers_may_start_anew_from_their_fillers(files):
    words = ["prune", *files, "--remove", "0.5", "--except-layers", "b", "--init", "random"]
    for seed, out in ((1, "one"), (1, "again"), (2, "two")):
        assert main([*words, "--seed", str(seed), "--out", out]) == 0
    one, again, two = (cc.read_model(f"{out}.prototxt", f"{out}.caffemodel").weights for out in ("one", "again", "two"))
    before = cc.read_model(*files).weights
    assert one["a"][0].shape == (4, 3, 3, 3) and not np.isin(one["a"][0], before["a"][0]).any()
    np.testing.assert_array_equal(one["a"][0], again["a"][0])
    np.testing.assert_array_equal(one["b"][1], before["b"][1])
    assert not np.array_equal(one["a"][0], two["a"][0])


def test_readers_may_be_projected_onto_the_inputs_that_are_left(files):
    """As scikit-learn, which EPruner's authors use, projects the rows; the cut layer keeps its filters."""
    projection = pytest.importorskip("sklearn.random_projection").SparseRandomProjection
    words = ["prune", *files, "--remove", "0.5", "--except-layers", "b", "--init", "random_project", "--seed", "3"]
    assert main([*words, "--out", "one"]) == 0
    assert main([*words, "--out", "again"]) == 0
    one, again, before = (
        cc.read_model(f"{name}.prototxt", f"{name}.caffemodel").weights for name in ("one", "again", "n")
    )
    assert one["b"][0].shape == (6, 4, 1, 1) and one["ip"][0].shape == before["ip"][0].shape
    wanted = projection(4, random_state=3).fit_transform(before["b"][0].reshape(6, 8).astype(float))
    np.testing.assert_array_equal(one["b"][0].reshape(6, 4), wanted.astype(np.float32))
    for name in ("b", "ip"):
        np.testing.assert_array_equal(one[name][0], again[name][0])
    np.testing.assert_array_equal(one["ip"][0], before["ip"][0])
    assert np.isin(one["a"][0], before["a"][0]).all()


def test_a_budget_of_multiply_adds_is_met(files):
    assert main(["prune", *files, "--multiply-adds", "0.4", "--out", "small"]) == 0
    before, after = cc.read_model(*files), cc.read_model("small.prototxt", "small.caffemodel")
    comparison = cc.compare_cost(before, after)
    assert 0.15 < comparison.after.multiply_adds / comparison.before.multiply_adds <= 0.4


def test_a_budget_of_multiply_adds_needs_no_data_of_a_net_that_tells_its_shape(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stored = (
        'layer { name: "d" type: "Data" top: "data" top: "label" transform_param { crop_size: 6 mean_value: 1 } '
        'data_param { source: "nowhere" batch_size: 3 } }\n'
        'layer { name: "a" type: "Convolution" bottom: "data" top: "a" '
        "convolution_param { num_output: 8 kernel_size: 3 } }\n"
        'layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 4 } }\n'
        'layer { name: "l" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "l" }'
    )
    rng = np.random.default_rng(0)
    weights = {"a": (rng.normal(size=(8, 1, 3, 3)), np.zeros(8)), "b": (rng.normal(size=(4, 128)), np.zeros(4))}
    cc.write_model(cc.Model(cc.parse_text(stored, cc.NetParameter), weights), "net.prototxt", "net.caffemodel")
    assert main(["prune", "net.prototxt", "net.caffemodel", "--multiply-adds", "0.5", "--out", "small"]) == 0
    assert "2.00x" in capsys.readouterr().out  # 4 of 8 filters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--criterion", "l3"], "criterion is 'l3'; did you mean"),
        (["--criterion", "fisher"], "criterion 'fisher' needs data: name the net"),
        (["--remove", "1"], "remove is 1; wanted 0 or more and less than 1"),
        (["--ratios", "a"], "--ratios has 'a'; wanted LAYER=NUMBER"),
        (["--criterion", "eprune", "--preference-betas", "a"], "--preference-betas has 'a'; wanted LAYER=NUMBER"),
        (["--criterion", "eprune", "--preference-betas", "c=1"], "net 'n' has no layer 'c'"),
        (["--criterion", "eprune", "--preference-betas", "a=-1"], "layer 'a': preference beta is -1; wanted a finite"),
        (["--ratios", "aa=0.5"], "net 'n' has no layer 'aa'; did you mean 'a'?"),
        (["--except-layers", "a,b"], "nothing to remove by criterion 'l2'"),
        (["--multiply-adds", "0.001"], "multiply_adds 0.001 cannot be met"),
        (["--criterion", "bn"], "criterion 'bn': no Scale follows layer 'a'"),
        (["--criterion", "tfo"], "criterion 'tfo' needs data: name the net"),
        (["--criterion", "fisher", "--batches", "2"], "net 'n' has no data layer in phase TRAIN"),
        (["--latency", "0"], "latency is 0; wanted a share above 0 and at most 1"),
        (["--latency", "0.5", "--multiply-adds", "0.5"], "multiply_adds and latency are two budgets"),
        (["--criterion", "eprune", "--rounds", "2"], "criterion 'eprune' finds its own count at once"),
        (["--ratios", "a=0.5", "--across-layers"], "ratios of single layers and across_layers exclude one another"),
        (["--rounds", "0"], "rounds is 0; wanted 1 or more"),
        (["--protect", "1"], "protect is 1; wanted 0 or more and less than 1"),
    ],
)
def test_what_cannot_be_is_one_line(files, options, message, capsys):
    assert main(["prune", *files, *options, "--out", "small"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(name.startswith("small") for name in os.listdir())


TRAINED = """
name: "t"
layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a" batch_norm_param { use_global_stats: true } }
layer { name: "scale" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "b" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def trained(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    with h5py.File("data.h5", "w") as file:
        file["data"] = rng.normal(size=(8, 3, 6, 6)).astype(np.float32)
        file["label"] = rng.integers(0, 4, 8).astype(np.float32)
    Path("list.txt").write_text("data.h5\n")
    net = cc.parse_text(TRAINED, cc.NetParameter)
    shapes = {"a": [(8, 3, 3, 3), (8,)], "scale": [(8,), (8,)], "b": [(6, 8, 1, 1), (6,)], "ip": [(4, 96), (4,)]}
    # Small, for Caffe's loss is clamped where a probability is below 1e-38, and its gradient is not.
    weights = {name: tuple(rng.normal(0, 0.3, s).astype(np.float32) for s in each) for name, each in shapes.items()}
    weights["bn"] = (np.zeros(8, np.float32), np.ones(8, np.float32), np.ones(1, np.float32))
    cc.write_model(cc.Model(net, weights), "t.prototxt", "t.caffemodel")
    return ["t.prototxt", "t.caffemodel"]


def loss_without(files, layer, number=None, *places):
    """The mean loss of both batches, with the filter `number` of the blobs `places` of a layer scaled by 1 - 1e-3."""
    model = cc.read_model(*files)
    blobs = [np.array(blob, np.float64) for blob in model.weights[layer]]
    for place in places:
        blobs[place][number] *= 1 - 1e-3
    net = cc.Net(model, "TEST", folder=Path()).double()
    net.load_weights({**model.weights, layer: tuple(blobs)})
    return np.mean([float(net()["loss"].detach()) for _ in range(2)])


def test_fisher_takes_the_filters_whose_scaling_changes_the_loss_least(trained):
    """d loss / d log of a filter is the sum of w g, by finite differences here."""
    change = [(loss_without(trained, "a", n, 0, 1) - loss_without(trained, "a")) ** 2 for n in range(8)]
    words = ["prune", *trained, "--criterion", "fisher", "--batches", "2", "--ratios", "a=0.5,b=0", "--out", "small"]
    assert main(words) == 0
    kept = json.loads(Path("small.certificate.json").read_text())["layers"]["a"]["kept"]
    assert kept == sorted(np.argsort(change)[4:].tolist())


def test_tfo_takes_the_channels_whose_gamma_changes_the_loss_least(trained):
    change = [(loss_without(trained, "scale", n, 0) - loss_without(trained, "scale")) ** 2 for n in range(8)]
    words = ["prune", *trained, "--criterion", "tfo", "--batches", "2", "--remove", "0.5", "--except-layers", "b"]
    assert main([*words, "--out", "small"]) == 0
    kept = json.loads(Path("small.certificate.json").read_text())["layers"]["a"]["kept"]
    assert kept == sorted(np.argsort(change)[4:].tolist())


def test_rounds_end_at_the_share_and_take_scores_anew(trained):
    words = ["prune", *trained, "--criterion", "fisher", "--batches", "2", "--remove", "0.5"]
    assert main([*words, "--rounds", "2", "--out", "two"]) == 0
    assert main([*words, "--out", "one"]) == 0
    counts = [
        {
            name: layer["filters"]
            for name, layer in json.loads(Path(f"{out}.certificate.json").read_text())["layers"].items()
        }
        for out in ("two", "one")
    ]
    assert counts[1] == {"a": 4, "b": 3} and all(abs(counts[0][name] - counts[1][name]) <= 1 for name in counts[1])
    assert cc.read_model("two.prototxt", "two.caffemodel").weights["b"][0].shape[1] == counts[0]["a"]


def test_a_share_across_layers_is_of_all_filters_and_leaves_min_filters(files):
    words = ["prune", *files, "--criterion", "l1", "--across-layers", "--remove", "0.5", "--min-filters", "2"]
    assert main([*words, "--out", "small"]) == 0
    before, after = cc.read_model(*files), cc.read_model("small.prototxt", "small.caffemodel")
    sizes = np.concatenate([np.abs(before.weights[name][0]).reshape(n, -1).sum(1) for name, n in (("a", 8), ("b", 6))])
    stays = np.sort(np.argsort(sizes, kind="stable")[7:])
    counts = [max(int((stays < 8).sum()), 2), max(int((stays >= 8).sum()), 2)]
    assert [len(after.weights[name][0]) for name in ("a", "b")] == counts


def test_the_last_filters_of_a_layer_are_protected(files):
    assert main(["prune", *files, "--criterion", "l1", "--remove", "0.5", "--protect", "0.25", "--out", "small"]) == 0
    kept = json.loads(Path("small.certificate.json").read_text())["layers"]["a"]["kept"]
    assert set(kept) >= {5, 6, 7}  # floor(0.25 * 8) + 1, filter 5 of zeros too


def test_a_budget_of_measured_time_halves_towards_the_share_that_meets_it(files, monkeypatch):
    from caffe_compat.prune import budget

    monkeypatch.setattr(
        budget, "compare_time", lambda nets, inputs, rounds: [[float(len(n.params["a"][0]))] * rounds for n in nets]
    )
    assert main(["prune", *files, "--latency", "0.5", "--out", "small"]) == 0
    assert len(cc.read_model("small.prototxt", "small.caffemodel").weights["a"][0]) == 4
