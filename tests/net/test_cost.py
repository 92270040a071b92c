"""Costs counted by plain loops, against published totals, and across a decomposition."""

import pytest

from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import DataError
from caffe_compat.net.cost import Cost, compare_cost, cost, layer_costs
from caffe_compat.proto.model import Model, read_model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden
from tests.decompose.cases import draw_weights, read_case

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 3 dim: 4 dim: 9 dim: 12 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 stride: 2 pad_h: 1 group: 2 } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "pool" top: "f" inner_product_param { num_output: 7 bias_term: false } }
"""
WEIGHTS = {"c": [[6, 2, 3, 5], [6]], "f": [[7, 36]]}


def test_costs_are_those_of_counting_every_product_of_one_image():
    costs = layer_costs(Model(parse_text(NET, NetParameter), draw_weights(WEIGHTS)))
    products = 0
    for _filter in range(6):
        for top in range(-1, 9 + 1 - 3 + 1, 2):
            for left in range(0, 12 - 5 + 1, 2):
                products += 2 * 3 * 5  # two channels in each group; a product with padding counts, as it is made
                assert top + left < 99
    assert costs["c"] == Cost(products, 6 * 2 * 3 * 5 + 6)
    assert costs["f"] == Cost(7 * 36, 7 * 36)
    assert costs["relu"] == costs["pool"] == Cost(0, 0)
    assert cost(Model(parse_text(NET, NetParameter))) == costs["c"] + costs["f"]


def test_alexnet_costs_what_is_published():
    costs = layer_costs(read_model(golden("nets", "alexnet.prototxt")))
    conv = [costs[f"conv{index}"].multiply_adds for index in range(1, 6)]
    assert conv == [105415200, 223948800, 149520384, 112140288, 74760192]  # 96 * 363 * 55^2, ...
    total = sum((each for name, each in costs.items() if name[:2] in ("co", "fc")), Cost())
    assert total == Cost(724406816, 60965224)


def test_shapes_can_be_given_where_the_data_is_not_here(tmp_path):
    net = NET.replace(
        'type: "Input" top: "data" input_param { shape { dim: 3 dim: 4 dim: 9 dim: 12 } }',
        f'type: "Data" top: "data" data_param {{ source: "{tmp_path}/none" batch_size: 2 backend: LMDB }}',
    )
    model, known = Model(parse_text(net, NetParameter)), Model(parse_text(NET, NetParameter))
    with pytest.raises(DataError, match="to count without data, give input_shapes="):
        cost(model)
    assert cost(model, {"data": (1, 4, 9, 12)}) == cost(known)


def test_a_shared_blob_counts_once():
    case = read_case("shared_weights")
    costs = layer_costs(case.given)
    assert costs["a"].parameters == 4 * 3 * 3 + 4 and costs["b"].parameters == 0


def test_a_comparison_sets_each_chain_beside_its_layer():
    model = Model(parse_text(NET, NetParameter), draw_weights(WEIGHTS))
    small = decompose(model, {"c": 4, "f": 2}, {"c": "separable"})
    compared = compare_cost(model, small)
    after = layer_costs(small)
    assert compared.layers["c"] == (layer_costs(model)["c"], after["c_v"] + after["c_h"])
    assert compared.layers["f"] == (Cost(252, 252), Cost(2 * 36 + 7 * 2, 2 * 36 + 7 * 2))
    assert (compared.before, compared.after) == (cost(model), cost(small))
    assert compared.speedup == cost(model).multiply_adds / cost(small).multiply_adds
    lines = str(compared).splitlines()
    assert lines[0].split() == ["layer", "multiply-adds", "after", "fewer", "parameters", "after", "fewer"]
    assert [line.split()[0] for line in lines[1:]] == ["c", "f", "total"]
    assert lines[2].split()[1:] == ["252", "86", "2.93x", "252", "86", "2.93x"]


def test_a_chain_goes_to_the_layer_with_the_longest_name_that_fits():
    case = read_case("mixed")
    renamed = case.given.net
    renamed.layer[2].name = "c_2"
    model = Model(renamed, {"c": case.given.weights["c"], "c_2": case.given.weights["d"]})
    compared = compare_cost(model, decompose(model, {"c": 2, "c_2": 3}))
    assert compared.layers["c_2"][1].parameters == 3 * 36 + 6 * 3 + 6
