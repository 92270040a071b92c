"""What a name of several layers stands for."""

import pytest

from caffe_compat.errors import GraphError
from caffe_compat.net.naming import names_may_repeat
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }'
INNER = 'layer {{ name: "x" type: "InnerProduct" bottom: "data" top: "{}" inner_product_param {{ num_output: {} }} }}'
RELU = 'layer { name: "x" type: "ReLU" bottom: "data" top: "r" }'


def _net(*layers: str) -> Net:
    return Net(parse_text(INPUT + "".join(layers), NetParameter))


def test_it_stands_for_the_layer_with_blobs() -> None:
    assert _net(RELU, INNER.format("a", 3)).layers["x"].param.type == "InnerProduct"


def test_two_with_blobs_are_refused_unless_names_may_repeat() -> None:
    both = (INNER.format("a", 3), INNER.format("b", 4))
    with pytest.raises(GraphError, match="two layers are named 'x'"):
        _net(*both)
    with names_may_repeat():
        assert _net(RELU, *both).layers["x"].blob_shapes == [(3, 2), (3,)]
    with pytest.raises(GraphError, match="two layers are named 'x'"):
        _net(*both)
