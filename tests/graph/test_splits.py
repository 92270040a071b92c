"""Expected nets are worked out by hand from insert_splits.cpp; test_graph.py compares with nets that Caffe wrote."""

from __future__ import annotations

import pytest

from caffe_compat.graph.splits import insert_splits
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

SOURCE = 'layer { name: "data" type: "Input" top: "data" top: "label" } '


def ip(name: str, bottom: str, top: str | None = None, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top or name}" {more} }} '


def split(name: str, bottom: str, count: int, weights: str = "") -> str:
    tops = " ".join(f'top: "{name}_{i}"' for i in range(count))
    return f'layer {{ name: "{name}" type: "Split" bottom: "{bottom}" {tops} {weights} }} '


def loss(name: str, first: str, second: str, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "EuclideanLoss" bottom: "{first}" bottom: "{second}" {more} }} '


CASES = {
    "one use each: nothing": (
        SOURCE + ip("ip", "data") + loss("loss", "ip", "label"),
        SOURCE + ip("ip", "data") + loss("loss", "ip", "label"),
    ),
    "an unused top: nothing": (SOURCE + ip("ip", "data"), SOURCE + ip("ip", "data")),
    "a source used twice": (
        SOURCE + ip("a", "data") + ip("b", "data") + loss("loss", "a", "b"),
        SOURCE
        + split("data_data_0_split", "data", 2)
        + ip("a", "data_data_0_split_0")
        + ip("b", "data_data_0_split_1")
        + loss("loss", "a", "b"),
    ),
    "the second top is numbered 1": (
        SOURCE + loss("l1", "data", "label", 'top: "l1"') + loss("l2", "l1", "label"),
        SOURCE
        + split("label_data_1_split", "label", 2)
        + loss("l1", "data", "label_data_1_split_0", 'top: "l1"')
        + loss("l2", "l1", "label_data_1_split_1"),
    ),
    "one layer that reads a blob twice": (
        SOURCE + loss("l", "data", "data"),
        SOURCE + split("data_data_0_split", "data", 2) + loss("l", "data_data_0_split_0", "data_data_0_split_1"),
    ),
    "the version after an in-place layer is split, and named after that layer": (
        SOURCE + ip("ip", "data") + ip("relu", "ip", "ip") + ip("a", "ip") + ip("b", "ip"),
        SOURCE
        + ip("ip", "data")
        + ip("relu", "ip", "ip")
        + split("ip_relu_0_split", "ip", 2)
        + ip("a", "ip_relu_0_split_0")
        + ip("b", "ip_relu_0_split_1"),
    ),
    "a used top with a loss_weight, which moves": (
        SOURCE + ip("ip", "data", more="loss_weight: 2.5") + ip("after", "ip"),
        SOURCE
        + ip("ip", "data")
        + split("ip_ip_0_split", "ip", 2, "loss_weight: 2.5 loss_weight: 0")
        + ip("after", "ip_ip_0_split_1"),
    ),
    "an unused top with a loss_weight: nothing": (
        SOURCE + ip("ip", "data", more="loss_weight: 2.5"),
        SOURCE + ip("ip", "data", more="loss_weight: 2.5"),
    ),
    "a used top with loss_weight 0: nothing": (
        SOURCE + ip("ip", "data", more="loss_weight: 0") + ip("after", "ip"),
        SOURCE + ip("ip", "data", more="loss_weight: 0") + ip("after", "ip"),
    ),
    "slashes stay in the names": (
        SOURCE + ip("a/b", "data", "c/d") + ip("x", "c/d") + ip("y", "c/d"),
        SOURCE
        + ip("a/b", "data", "c/d")
        + split("c/d_a/b_0_split", "c/d", 2)
        + ip("x", "c/d_a/b_0_split_0")
        + ip("y", "c/d_a/b_0_split_1"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_splits_stand_where_caffe_puts_them(name: str) -> None:
    given, wanted = (parse_text(text, NetParameter) for text in CASES[name])
    assert list(insert_splits(given.layer)) == list(wanted.layer)


def test_splitting_twice_changes_nothing_more() -> None:
    once = insert_splits(parse_text(CASES["a source used twice"][0], NetParameter).layer)
    assert insert_splits(once) == once


def test_the_given_layers_stay_as_they_are() -> None:
    given = parse_text(CASES["a used top with a loss_weight, which moves"][0], NetParameter)
    before = given.SerializeToString(deterministic=True)
    insert_splits(given.layer)
    assert given.SerializeToString(deterministic=True) == before
