"""Laws: what is deleted at every Axis of a channel leaves the net that has zeros where that channel was read.

The nets run in tests/reference/channels.py, in plain loops.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.graph.channels import Axis, Channels, couple_channels
from caffe_compat.graph.graph import Blob, Graph, build_graph
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.reference.channels import INPUT, Toy, run, toys


def graph_of(text: str, phase: str = "TEST") -> Graph:
    return build_graph(parse_text(text, NetParameter, "net.prototxt"), phase)


def source(*sizes: int) -> str:
    dims = " ".join(f"dim: {size}" for size in sizes)
    return f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }} '


def layer(name: str, kind: str, bottom: str, fields: str = "", top: str = "") -> str:
    bottoms = " ".join(f'bottom: "{each}"' for each in bottom.split())
    tops = " ".join(f'top: "{each}"' for each in (top or name).split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} {tops} {fields} }} '


def conv(name: str, bottom: str, outputs: int, more: str = "", top: str = "") -> str:
    return layer(
        name, "Convolution", bottom, f"convolution_param {{ num_output: {outputs} kernel_size: 1 {more} }}", top
    )


def classes_with(found: Channels, layer_name: str, role: str = "producers") -> list[tuple[int, bool]]:
    """(size, whether it may be narrowed) of every class with that layer's blob 0 among its `role`."""
    return [
        (each.size, each.narrowable)
        for each in found.classes
        if any(axis.layer == layer_name and axis.blob == 0 for axis in getattr(each, role))
    ]


def without(toy: Toy, graph: Graph, found: Channels, number: int, channel: int) -> Toy:
    """`toy` without one channel: deleted along every Axis, and slice points counted anew."""
    weights = {name: list(blobs) for name, blobs in toy.weights.items()}
    for axis in found.classes[number].axes:
        original = toy.weights[axis.layer][axis.blob]
        gone = [i for each in found.classes[number].axes if (each.layer, each.blob, each.axis) ==
                (axis.layer, axis.blob, axis.axis) for i in each.indices(channel)]  # fmt: skip
        if weights[axis.layer][axis.blob].shape[axis.axis] == original.shape[axis.axis]:
            weights[axis.layer][axis.blob] = np.delete(weights[axis.layer][axis.blob], gone, axis=axis.axis)
    points = {}
    for node in graph.nodes:
        if node.param.type == "Slice":
            runs = found.runs(node.tops[0]) or ()
            gone_here = sum(each.repeat for each in runs if each.number == number)
            points[node.name] = [toy.points[node.name][0] - gone_here]
    return Toy(toy.text, weights, points)


def unread(toy: Toy, found: Channels, number: int, channel: int) -> Toy:
    """`toy` with zeros where the channel is read."""
    weights = {name: [blob.copy() for blob in blobs] for name, blobs in toy.weights.items()}
    for axis in found.classes[number].consumers:
        np.moveaxis(weights[axis.layer][axis.blob], axis.axis, 0)[list(axis.indices(channel))] = 0
    return Toy(toy.text, weights, toy.points)


@settings(max_examples=60, deadline=None)
@given(toys(), st.data())
def test_a_channel_deleted_at_every_axis_leaves_the_net_that_never_reads_it(toy: Toy, data: st.DataObject) -> None:
    graph = graph_of(toy.text)
    found = couple_channels(graph)
    values = np.random.default_rng(1).normal(size=INPUT)
    for number, each in enumerate(found.classes):
        if each.narrowable and each.size > 1:
            channel = data.draw(st.integers(0, each.size - 1))
            whole = run(graph, unread(toy, found, number, channel), values)
            narrow = run(graph, without(toy, graph, found, number, channel), values)
            for name in graph.outputs:
                blob = graph.last_versions()[name]
                assert narrow[blob].shape == whole[blob].shape
                np.testing.assert_allclose(narrow[blob], whole[blob], rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(toys())
def test_the_classes_part_every_followed_axis_and_no_index_lies_in_two(toy: Toy) -> None:
    graph = graph_of(toy.text)
    found = couple_channels(graph)
    covered: dict[tuple[str, int, int], list[int]] = {}
    for each in found.classes:
        for axis in each.axes:
            indices = [i for channel in range(each.size) for i in axis.indices(channel)]
            covered.setdefault((axis.layer, axis.blob, axis.axis), []).extend(indices)
    for (name, blob, axis_number), indices in covered.items():
        assert sorted(indices) == list(range(toy.weights[name][blob].shape[axis_number]))
    values = run(graph, toy, np.ones(INPUT))
    for blob, value in values.items():
        runs = found.runs(blob)
        assert runs is not None
        ends = [each.offset + found.classes[each.number].size * each.repeat for each in runs]
        assert [each.offset for each in runs] == [0, *ends[:-1]]
        assert ends[-1] == value.shape[1]


@settings(max_examples=30, deadline=None)
@given(toys())
def test_the_order_of_two_summed_blobs_does_not_matter(toy: Toy) -> None:
    swapped = []
    for line in toy.text.splitlines():
        if '"Eltwise"' in line:
            head, first, second, *tail = line.split("bottom: ")
            second, rest = second.split(" ", 1)
            line = f"{head}bottom: {second} bottom: {first}{rest}" + "".join(tail)
        swapped.append(line)
    first, second = (couple_channels(graph_of(text)) for text in (toy.text, "\n".join(swapped)))
    assert {(each.size, frozenset(each.axes), each.narrowable) for each in first.classes} == {
        (each.size, frozenset(each.axes), each.narrowable) for each in second.classes
    }


def test_a_chain_is_narrowed_at_the_convolution_its_batch_norm_and_the_next_layer() -> None:
    text = source(1, 3, 4, 4) + conv("a", "data", 8) + layer("bn", "BatchNorm", "a", top="a")
    text += layer("scale", "Scale", "a", "scale_param { bias_term: true }", "a") + layer("relu", "ReLU", "a", top="a")
    text += layer("pool", "Pooling", "a", "pooling_param { kernel_size: 2 stride: 2 }")
    text += layer("ip", "InnerProduct", "pool", "inner_product_param { num_output: 5 }")
    found = couple_channels(graph_of(text))
    hidden = found.classes[1]
    assert hidden.size == 8
    assert hidden.narrowable
    assert hidden.producers == (Axis("a", 0, 0), Axis("a", 1, 0))
    assert hidden.followers == (Axis("bn", 0, 0), Axis("bn", 1, 0), Axis("scale", 0, 0), Axis("scale", 1, 0))
    assert hidden.consumers == (Axis("ip", 0, 1, 0, 4),)
    assert found.classes[0].reason == "blob 'data' comes from layer 'data' (Input)"
    assert found.classes[2].reason == "blob 'ip' is an output of the net"


def test_a_sum_couples_its_terms_and_a_concat_gives_each_its_offset() -> None:
    text = source(1, 3, 4, 4) + conv("a", "data", 8) + conv("b", "data", 8) + conv("c", "data", 5)
    text += layer("sum", "Eltwise", "a b") + layer("cat", "Concat", "c sum") + conv("d", "cat", 2)
    found = couple_channels(graph_of(text))
    assert [(each.size, {axis.layer for axis in each.producers}) for each in found.classes[1:]] == [
        (8, {"a", "b"}),
        (5, {"c"}),
        (2, {"d"}),
    ]
    assert found.classes[1].consumers == (Axis("d", 0, 1, 5),)
    assert found.classes[2].consumers == (Axis("d", 0, 1, 0),)


def test_a_depthwise_convolution_follows_and_a_grouped_one_couples_the_places_of_its_groups() -> None:
    text = source(1, 3, 4, 4) + conv("a", "data", 8) + conv("dw", "a", 16, "group: 8") + conv("g", "dw", 12, "group: 4")
    text += conv("last", "g", 2)
    found = couple_channels(graph_of(text))
    assert [(each.size, len(each.consumers)) for each in found.classes[1:-1]] == [(2, 1), (3, 4)]
    first, second = found.classes[1:3]
    assert first.followers[:4] == tuple(Axis("dw", 0, 0, offset, 2) for offset in (0, 4, 8, 12))
    assert first.consumers == (Axis("g", 0, 1, 0, 2),)
    assert [axis.offset for axis in second.producers if axis.blob == 0] == [0, 3, 6, 9]


LEFT_ALONE = {
    "LRN across channels": (layer("x", "LRN", "a"), "normalizes across neighbouring channels"),
    "MVN across channels": (layer("x", "MVN", "a", "mvn_param { across_channels: true }"), "across all channels"),
    "Softmax": (layer("x", "Softmax", "a"), "sums over all channels"),
    "Permute": (layer("x", "Permute", "a", "permute_param { order: 0 order: 2 order: 3 order: 1 }"), "may do anything"),
    "a Reshape of the channels": (
        layer("x", "Reshape", "a", "reshape_param { shape { dim: 0 dim: 4 dim: -1 } }"),
        "order",
    ),
    "an unknown type": (layer("x", "Mystery", "a"), "layer 'x' (Mystery) may do anything with its channels"),
    "a fork's field": (layer("x", "BatchNorm", "a", "batch_norm_param { scale_bias: true }"), "scale_bias"),
    "a loss": (layer("x", "SoftmaxWithLoss", "a data"), "gives every channel a meaning"),
    "a sum over channels": (layer("x", "Reduction", "a", "reduction_param { axis: 1 }"), "one value"),
    "an input as term": (conv("b", "data", 3) + layer("x", "Eltwise", "b data") + conv("e", "x", 1), "comes from"),
    "a loss_weight": (layer("x", "ReLU", "a", "loss_weight: 1") + conv("e", "x", 2), "counts in the loss"),
    "a Softmax in front of another layer": (layer("x", "Softmax", "a") + conv("e", "x", 2), "sums over all channels"),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_gives_channels_their_place_is_left_alone_and_says_why(case: str) -> None:
    text, reason = LEFT_ALONE[case]
    found = couple_channels(graph_of(source(1, 3, 4, 4) + conv("a", "data", 8) + text))
    maker = "b" if "'b'" in text or '"b"' in text else "a"
    fixed = [each for each in found.classes if any(axis.layer == maker for axis in each.producers)]
    assert fixed
    for each in fixed:
        assert not each.narrowable
        assert reason in each.reason


NOT_TOUCHED = {
    "LRN within channels": layer("x", "LRN", "a", "lrn_param { norm_region: WITHIN_CHANNEL }"),
    "MVN": layer("x", "MVN", "a"),
    "Softmax over the rows": layer("x", "Softmax", "a", "softmax_param { axis: 2 }"),
    "Reshape of the plane": layer("x", "Reshape", "a", "reshape_param { shape { dim: 0 dim: 0 dim: -1 } }"),
    "Tile along the rows": layer("x", "Tile", "a", "tile_param { axis: 2 tiles: 3 }"),
    "Crop": layer("x", "Crop", "a data", "crop_param { axis: 2 }"),
    "Concat of rows": layer("x", "Concat", "a a", "concat_param { axis: 2 }"),
    "Slice of rows": layer("x", "Slice", "a", "slice_param { axis: 2 }", "x y") + layer("s", "Silence", "y", top=" "),
    "Scale over the plane": layer("x", "Scale", "a", "scale_param { axis: 2 num_axes: 2 }"),
    "one PReLU slope": layer("x", "PReLU", "a", "prelu_param { channel_shared: true }"),
    "a Reduction of rows": layer("x", "Reduction", "a", "reduction_param { axis: 2 }"),
}


@pytest.mark.parametrize("case", NOT_TOUCHED)
def test_what_keeps_channels_apart_hands_them_on(case: str) -> None:
    text = source(1, 3, 4, 4) + conv("a", "data", 8) + NOT_TOUCHED[case]
    text += layer("ip", "InnerProduct", "x", "inner_product_param { num_output: 2 }")
    found = couple_channels(graph_of(text.replace('top: " "', "")))
    assert classes_with(found, "a") == [(8, True)]
    assert classes_with(found, "ip", "consumers") == [(8, True)]


def test_shared_blobs_couple_their_layers_and_a_misfit_fixes_both() -> None:
    named = 'param { name: "w" } param { name: "b" }'
    ip = "inner_product_param { num_output: 6 }"
    text = source(1, 3) + layer("a", "InnerProduct", "data", f"{ip} {named}") + layer("s", "InnerProduct", "a", ip)
    text += layer("b", "InnerProduct", "data", f"{ip} {named}") + layer("t", "InnerProduct", "b", ip)
    found = couple_channels(graph_of(text))
    assert [({axis.layer for axis in each.producers}, each.narrowable) for each in found.classes[1:2]] == [
        ({"a", "b"}, True)
    ]
    misfit = text.replace('bottom: "data"', 'bottom: "s"').replace('bottom: "s"', 'bottom: "data"', 1)
    assert not any(ok for _, ok in classes_with(couple_channels(graph_of(misfit)), "s"))


def test_two_phases_are_narrowed_together_or_not_at_all() -> None:
    text = source(1, 3, 4, 4) + conv("a", "data", 8) + conv("b", "a", 2)
    text += layer("look", "ArgMax", "a", "include { phase: TEST }")
    train, test = graph_of(text, "TRAIN"), graph_of(text, "TEST")
    assert classes_with(couple_channels(train), "a") == [(8, True)]
    both = couple_channels(train, test)
    assert classes_with(both, "a") == [(8, False)]
    assert both.runs(Blob("a"), 1) == both.runs(Blob("a"), 0)


def test_sizes_that_only_data_tell_come_from_shapes_and_are_missed_without() -> None:
    text = 'layer { name: "data" type: "Data" top: "data" top: "label" } ' + conv("a", "data", 8)
    text += layer("ip", "InnerProduct", "a", "inner_product_param { num_output: 2 }")
    graph = graph_of(text)
    missing = couple_channels(graph)
    assert "height and width are not known" in missing.classes[0].reason
    known = couple_channels(graph, shapes={"data": (2, 3, 5, 7), "a": (2, 8, 5, 7)})
    assert classes_with(known, "a") == [(8, True)]
    assert Axis("ip", 0, 1, 0, 35) in known.classes[1].consumers


def test_two_thousand_layers_take_less_than_a_second() -> None:
    text = source(1, 64, 8, 8) + conv("c0", "data", 256)
    for k in range(1, 400):
        text += conv(f"c{k}", f"s{k - 1}" if k > 1 else "c0", 256) + layer(f"b{k}", "BatchNorm", f"c{k}", top=f"c{k}")
        text += layer(f"r{k}", "ReLU", f"c{k}", top=f"c{k}")
        text += layer(f"s{k}", "Eltwise", f"c{k} {f's{k - 1}' if k > 1 else 'c0'}")
    graph = graph_of(text)
    assert len(graph.nodes) > 1990
    start = time.perf_counter()
    found = couple_channels(graph)
    assert time.perf_counter() - start < 1  # 0.15 s on one core; the rest is for a busy machine
    assert [each.size for each in found.classes] == [64, 256]
