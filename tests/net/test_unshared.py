"""Which gradients are tensors of their own."""

import pytest

import caffe_compat as cc
from caffe_compat.net.unshared import unshared_gradients
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

INPUT = 'layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } shape { dim: 2 } } }'  # noqa: E501
SCORES = """layer { name: "ip" type: "InnerProduct" bottom: "last" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }"""


def convolution(bottom: str, top: str) -> str:
    fields = "convolution_param { num_output: 3 kernel_size: 1 }"
    return f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" {fields} }}'


def eltwise(*bottoms: str, fields: str = "") -> str:
    named = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "sum" type: "Eltwise" {named} top: "last" {fields} }}'


@pytest.mark.parametrize(
    ("layers", "is_own"),
    [
        pytest.param([convolution("a", "last")], True, id="a convolution makes a new one"),
        pytest.param([convolution("a", "c"), eltwise("a", "c")], True, id="two are added up"),
        pytest.param([eltwise("a", "data")], False, id="Eltwise hands its own down"),
        pytest.param([eltwise("a", "a")], True, id="the same one twice is added to itself"),
        pytest.param([eltwise("a", "data", fields="eltwise_param { operation: MAX }")], False, id="nothing is known"),
        pytest.param(
            [convolution("a", "c"), convolution("c", "d"), eltwise("a", "data"),
             'layer { name: "end" type: "Silence" bottom: "d" }'],
            False, id="the second comes from a branch without a loss",
        ),
        pytest.param(
            [convolution("a", "c").replace("top:", "propagate_down: false top:"), eltwise("a", "c")],
            False, id="the second is stopped",
        ),
    ],
)  # fmt: skip
def test_a_gradient_is_a_tensor_of_its_own_where_it_is_made_or_added_up(layers, is_own):
    text = "\n".join([INPUT, convolution("data", "a"), *layers, SCORES])
    net = cc.Net(parse_text(text, NetParameter), phase="TRAIN")
    found = unshared_gradients(net.steps)
    first = next(node for node, _ in net.steps if node.name == "a")
    assert (first.tops[0] in found) == is_own


def test_the_gradient_of_a_loss_is_one_number_for_all_values():
    """A copy of it, or its sum with another, would be a tensor of its own; it itself is not."""
    weighted = convolution("data", "a").replace("top:", "loss_weight: 0.5 top:")
    for layers in ([weighted], [weighted, convolution("a", "last"), SCORES]):
        net = cc.Net(parse_text("\n".join([INPUT, *layers]), NetParameter), phase="TRAIN")
        assert not {blob.name for blob in unshared_gradients(net.steps)} & {"a"}
