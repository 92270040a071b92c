"""One layer -> its chain: case files, the outputs of the chain, and the fork's own rewritten nets."""

import itertools
import json

import numpy as np
import pytest

from caffe_compat.decompose.factorize import factorize
from caffe_compat.decompose.ranks import ranks_by_energy, ranks_by_norm, ranks_in_order
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import GraphError, RankError, WeightsError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model, read_model, read_net, read_weights
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import format_text, parse_text
from tests.conftest import golden
from tests.decompose import cases
from tests.decompose.cases import draw_weights, read_case

FLOWS = sorted(path.name for path in golden("decompose", "flow").iterdir())


def shapes_of(weights):
    return {name: [list(blob.shape) for blob in blobs] for name, blobs in weights.items()}


@pytest.mark.parametrize("name", cases.names())
def test_given_becomes_result(name):
    case = read_case(name)
    made = decompose(case.given, case.settings["ranks"], case.settings.get("method", "pca"))
    assert format_text(made.net) == format_text(case.result)
    assert shapes_of(made.weights) == case.settings["made"]


@pytest.mark.parametrize("name", cases.names())
def test_the_chain_computes_what_the_reconstructed_weight_does(name):
    case = read_case(name)
    ranks, method = case.settings["ranks"], case.settings.get("method", "pca")
    made = decompose(case.given, ranks, method)
    whole = dict(case.given.weights)
    for layer in case.given.net.layer:
        if layer.name in ranks:
            each = method if isinstance(method, str) else method.get(layer.name, "pca")
            rank = tuple(ranks[layer.name]) if isinstance(ranks[layer.name], list) else ranks[layer.name]
            weight, *bias = whole[layer.name]
            turn = layer.inner_product_param.transpose
            low = factorize(weight.T if turn else weight, rank, each, layer.convolution_param.group).reconstruct()
            whole[layer.name] = (low.T.copy() if turn else low, *bias)
    expected, found = Net(Model(case.given.net, whole)), Net(made)
    rng = np.random.default_rng(3)
    inputs = {name: rng.standard_normal(expected.shapes[name]).astype(np.float32) for name in expected.input_names}
    blobs = found.blobs(**inputs)
    for blob, wanted in expected.blobs(**inputs).items():
        wanted = wanted.detach().numpy()
        np.testing.assert_allclose(blobs[blob].detach().numpy(), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_the_given_model_is_left_as_it_is():
    case, again = read_case("conv_pca"), read_case("conv_pca")
    decompose(case.given, {"conv1": 5})
    assert case.given.net == again.given.net
    np.testing.assert_array_equal(case.given.weights["conv1"][0], again.given.weights["conv1"][0])


def run_flow(name):
    """The fork's arguments, carried out here: (our model, the fork's net, the fork's weights, method)."""
    folder = golden("decompose", "flow", name)
    meta = json.loads((folder / "meta.json").read_text())
    model = read_model(folder / "net.prototxt", folder / "net.caffemodel")
    if "config" in meta:
        small = decompose(model, meta["config"], "separable")
        return (
            small,
            read_net(folder / "net_lowrank.prototxt"),
            read_weights(folder / "net_lowrank.caffemodel.h5"),
            "vh",
        )
    words = meta["args"]
    option = dict(itertools.pairwise(words))
    fc, method = "--enable_fc" in words, option.get("--lra_type", "pca")
    excepted = json.loads((folder / option["--except_layers"]).read_text()) if "--except_layers" in words else ()
    if "--rankratio" in words:
        rule = {"pca": ranks_by_energy, "svd": ranks_by_norm}[method]
        ranks = rule(model, float(option["--rankratio"]), fc, excepted)
    elif "--ranks" in words:
        ranks = ranks_in_order(model, [int(word) for word in option["--ranks"].split(",")], fc, excepted)
    else:
        ranks = json.loads((folder / option["--rank_config"]).read_text())
    weights = read_weights(folder / "net.caffemodel.lowrank.caffemodel.h5")
    return decompose(model, ranks, method), read_net(folder / "net.prototxt.lowrank.prototxt"), weights, method


@pytest.mark.parametrize("name", FLOWS)
def test_net_and_shapes_are_the_forks(name):
    small, net, weights, _ = run_flow(name)
    assert format_text(small.net) == format_text(net)
    assert shapes_of(small.weights) == shapes_of(weights)


@pytest.mark.parametrize("name", FLOWS)
def test_outputs_after_each_chain_are_the_forks(name):
    small, _, _, method = run_flow(name)
    if method == "kmeans":
        pytest.skip("its clusters are not unique (README-solver): only the shapes are comparable")
    stored = np.load(golden("decompose", "flow", name, "io.npz"))
    blobs = Net(small).blobs(data=stored["data"])
    compared = [key for key in stored.files if key.startswith("lowrank/") and not key.endswith(("_lowrank", "_v"))]
    assert len(compared) > 3
    for key in compared:
        found, wanted = blobs[key.removeprefix("lowrank/")].detach().numpy(), stored[key]
        # README-solver: 1e-5 of the largest output
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max(), err_msg=key)


BAD = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 8 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "w" }
  convolution_param { num_output: 6 kernel_size: 3 group: 2 } }
layer { name: "e" type: "Convolution" bottom: "data" top: "e" param { name: "w" }
  convolution_param { num_output: 6 kernel_size: 3 group: 2 } }
layer { name: "dw" type: "Convolution" bottom: "c" top: "dw"
  convolution_param { num_output: 6 kernel_size: 3 group: 6 } }
layer { name: "pool" type: "Pooling" bottom: "dw" top: "pool" pooling_param { kernel_size: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "pool" top: "f" inner_product_param { num_output: 5 } }
layer { name: "f_linear" type: "ReLU" bottom: "f" top: "f_relu" }
layer { name: "g" type: "InnerProduct" bottom: "f_relu" top: "f_lowrank" inner_product_param { num_output: 5 } }
layer { name: "h" type: "InnerProduct" bottom: "f_lowrank" top: "h" inner_product_param { num_output: 4 } }
layer { name: "i" type: "InnerProduct" bottom: "h" top: "f_linear" inner_product_param { num_output: 4 } }
layer { name: "j" type: "InnerProduct" bottom: "h" top: "h" inner_product_param { num_output: 4 } }
"""
BLOBS = {
    "c": [[6, 2, 3, 3], [6]],
    "e": "c",
    "dw": [[6, 1, 3, 3], [6]],
    "f": [[5, 18], [5]],
    "g": [[5, 5], [5]],
    "h": [[4, 5], [4]],
    "j": [[4, 4], [4]],
}


@pytest.mark.parametrize(
    "ranks, method, error, said",
    [
        ({"cc": 2}, "pca", RankError, "ranks name layer 'cc', which is not in the net; did you mean 'c'?"),
        ({"conv9": 2}, "pca", RankError, "layer 'conv9', which is not in the net; it has: c, e, dw, f, g, h, i, j"),
        ({"pool": 2}, "pca", RankError, "layer 'pool' is a Pooling; only Convolution and InnerProduct layers"),
        ({"dw": 6}, "pca", RankError, "layer 'dw' has one filter in each of its 6 groups; it has nothing to share"),
        ({"g": 6}, "pca", RankError, "layer 'g': rank 6 is out of range; the largest possible is 5"),
        ({"g": 0}, "pca", RankError, "layer 'g': rank 0 is too small; it must be at least 1"),
        ({"g": -3}, "svd", RankError, "layer 'g': rank -3 is too small"),
        ({"g": 2.5}, "pca", RankError, "layer 'g': rank is 2.5; a whole number"),
        (
            {"c": 1, "e": 1},
            "pca",
            RankError,
            "layer 'c': rank 1 is too small; it must be at least 2, one for each group",
        ),
        (
            {"c": 8, "e": 8},
            "pca",
            RankError,
            "layer 'c': rank 8 in 2 groups: in each, rank 4 is out of range; the largest",
        ),
        ({"c": 2, "e": 4}, "pca", RankError, "layers 'c' and 'e' share weight 'w'; give both one rank, or none"),
        ({"e": 2}, "pca", RankError, "layers 'c' and 'e' share weight 'w'"),
        ({"g": 2}, "separable", RankError, "layer 'g' is an InnerProduct, which method 'separable' cannot decompose"),
        ({"g": 6}, "kmeans", RankError, "layer 'g': rank 6 is out of range; the largest possible is 5"),
        ({"g": 2}, "pcb", RankError, "layer 'g': method is 'pcb'; known: pca, svd, kmeans"),
        ({"g": 2}, {"gg": "svd"}, RankError, "layer 'gg', which is not in the net; did you mean 'g'?"),
        ({"f": 2}, "pca", GraphError, "layer 'f': its chain needs the blob name 'f_lowrank', which is taken"),
        ({"j": 2}, "pca", GraphError, "layer 'j' has top 'h' for its bottom too; give the top another name"),
        ({"i": 2}, "pca", WeightsError, "layer 'i' has 0 of 2 blobs"),
    ],
)
def test_what_cannot_be_decomposed_is_said_in_one_line(ranks, method, error, said):
    model = Model(parse_text(BAD, NetParameter), draw_weights(BLOBS))
    with pytest.raises(error) as caught:
        decompose(model, ranks, method)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_shared_weight_that_only_its_owner_stores_is_found():
    case = read_case("shared_weights")
    only_owner = Model(case.given.net, {"a": case.given.weights["a"]})
    made = decompose(only_owner, {"a": 2, "b": 2})
    np.testing.assert_array_equal(made.weights["b_lowrank"][0], made.weights["a_lowrank"][0])
    np.testing.assert_array_equal(made.weights["b_linear"][1], made.weights["a_linear"][1])
