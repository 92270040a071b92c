"""Expected shapes are those with which the layers themselves run (Net), and some worked out by hand."""

from __future__ import annotations

import pytest

import caffe_compat as cc
from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.blob_shapes import blob_shapes, fork_field, slice_bounds
from caffe_compat.graph.graph import build_graph
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden

NETS = sorted(path for path in golden().rglob("*.prototxt") if "solver" not in path.name)


@pytest.mark.parametrize("path", NETS[::7], ids=lambda path: path.stem)
def test_what_the_messages_tell_is_what_the_layers_find(path):
    try:
        net = cc.Net(cc.read_model(path), phase="TRAIN", folder=path.parent)
    except (CaffeCompatError, ImportError) as error:
        pytest.skip(f"the net does not stand by itself: {error}")
    for blob, shape in blob_shapes(net.graph).items():
        if shape is not None:
            found = net._shapes[blob]
            assert len(shape) == len(found), blob
            assert all(size is None or size == real for size, real in zip(shape, found, strict=True)), (blob, shape)


SHAPES = {
    "a stride that leaves a rest": ("Convolution", "num_output: 5 kernel_size: 3 stride: 2", (2, 5, 2, 3)),
    "a dilated kernel": ("Convolution", "num_output: 5 kernel_size: 2 dilation: 3", (2, 5, 3, 4)),
    "sides": ("Convolution", "num_output: 5 kernel_h: 1 kernel_w: 3 pad_w: 1", (2, 5, 6, 7)),
    "deconvolution": ("Deconvolution", "num_output: 4 kernel_size: 4 stride: 2 pad: 1", (2, 4, 12, 14)),
    "pooling rounds up": ("Pooling", "kernel_size: 3 stride: 2", (2, 3, 3, 3)),
    "a last window in the pad is dropped": ("Pooling", "kernel_size: 2 stride: 2 pad: 1", (2, 3, 4, 4)),
    "global pooling": ("Pooling", "global_pooling: true", (2, 3, 1, 1)),
    "flatten": ("Flatten", "", (2, 126)),
    "reshape": ("Reshape", "shape { dim: 0 dim: -1 dim: 7 }", (2, 18, 7)),
    "inner product": ("InnerProduct", "num_output: 9", (2, 9)),
    "tile": ("Tile", "axis: -1 tiles: 2", (2, 3, 6, 14)),
    "reduction": ("Reduction", "axis: 2", (2, 3)),
    "a type of no fork": ("Mystery", "", None),
}
MESSAGES = {"Deconvolution": "convolution_param", "InnerProduct": "inner_product_param"}


@pytest.mark.parametrize("case", SHAPES)
def test_the_shape_of_a_top(case):
    kind, fields, shape = SHAPES[case]
    settings = f"{MESSAGES.get(kind, kind.lower() + '_param')} {{ {fields} }}" if fields else ""
    text = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 7 } } }'
    text += f'layer {{ name: "x" type: "{kind}" bottom: "d" top: "x" {settings} }}'
    graph = build_graph(parse_text(text, NetParameter, "n"), "TEST")
    assert blob_shapes(graph)[graph.last_versions()["x"]] == shape


def test_a_given_shape_replaces_what_a_source_does_not_say():
    text = 'layer { name: "d" type: "HDF5Data" top: "d" } '
    text += 'layer { name: "x" type: "InnerProduct" bottom: "d" top: "x" inner_product_param { num_output: 4 } }'
    graph = build_graph(parse_text(text, NetParameter, "n"), "TEST")
    top = graph.last_versions()["x"]
    assert blob_shapes(graph)[top] is None
    assert blob_shapes(graph, {"d": (5, 2)})[top] == (5, 4)


def test_a_field_of_a_fork_is_named_and_one_that_only_changes_speed_is_not():
    net = parse_text(
        'layer { name: "a" type: "BatchNorm" batch_norm_param { scale_bias: true } } '
        'layer { name: "b" type: "Convolution" convolution_param { conv_mode: LOWERED_CSRMM } }',
        NetParameter,
        "n",
    )
    assert fork_field(net.layer[0].batch_norm_param) == "scale_bias"
    assert fork_field(net.layer[1].convolution_param) == ""


def test_slice_bounds_without_points_are_equal_parts():
    assert slice_bounds([], 6, 3) == [0, 2, 4, 6]
    assert slice_bounds([], 7, 3) is None
    assert slice_bounds([1, 5], 7, 3) == [0, 1, 5, 7]
