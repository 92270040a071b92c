"""Which blobs are one array: by hand from ShareData and ShareDiff of Caffe, and a law against plain memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.graph.graph import Blob, Graph, build_graph
from caffe_compat.graph.sharing import Sharing, share_arrays
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

SOURCE = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } } '


def graph_of(text: str, phase: str = "TRAIN") -> Graph:
    return build_graph(parse_text(SOURCE + text, NetParameter, "net.prototxt"), phase)


def shared(text: str, phase: str = "TRAIN") -> Sharing:
    return share_arrays(graph_of(text, phase).nodes)


def layer(name: str, kind: str, bottom: str, top: str = "", fields: str = "") -> str:
    bottoms = " ".join(f'bottom: "{each}"' for each in bottom.split())
    tops = " ".join(f'top: "{each}"' for each in (top or name).split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} {tops} {fields} }} '


def names(blobs: tuple[Blob, ...]) -> list[str]:
    return [f"{blob.name}.{blob.version}" for blob in blobs]


def test_an_in_place_chain_is_one_array_of_data_and_one_of_diff():
    found = shared(layer("a", "Power", "x") + layer("b", "ReLU", "a", "a") + layer("c", "TanH", "a", "a"))
    assert names(found.same_data(Blob("a"))) == ["a.0", "a.1", "a.2"]
    assert names(found.same_diff(Blob("a", 1))) == ["a.0", "a.1", "a.2"]
    assert found.left(Blob("a")) == Blob("a", 2)
    assert found.content(Blob("a"), at=2) == Blob("a", 0)
    assert names(found.same_data(Blob("x"))) == ["x.0"]


def test_a_split_shares_data_but_not_diff():
    found = shared(layer("a", "Power", "x") + layer("b", "ReLU", "a") + layer("c", "ReLU", "a"))
    copies = ["a_a_0_split_0.0", "a_a_0_split_1.0"]
    assert names(found.same_data(Blob("a"))) == ["a.0", *copies]
    assert names(found.same_diff(Blob("a"))) == ["a.0"]


SHARING = {
    "Flatten": (layer("f", "Flatten", "x"), True),
    "Reshape": (layer("f", "Reshape", "x", fields="reshape_param { shape { dim: 0 dim: -1 } }"), True),
    "Concat of one": (layer("f", "Concat", "x"), True),
    "Slice into one": (layer("f", "Slice", "x"), True),
    "Concat of two": (layer("y", "Power", "x", "y") + layer("f", "Concat", "y y"), False),
    "Slice into two": (layer("f", "Slice", "x", "f g"), False),
    "Eltwise": (layer("y", "Power", "x", "y") + layer("f", "Eltwise", "y y"), False),
    "Dropout": (layer("f", "Dropout", "x"), False),
}


@pytest.mark.parametrize("case", SHARING)
def test_the_other_layers_share_both_or_nothing(case: str) -> None:
    text, wanted = SHARING[case]
    found = shared(text)
    bottom = Blob("y" if '"y"' in text else "x")
    assert (found.data[Blob("f")] == found.data[bottom]) is wanted
    assert (found.diff[Blob("f")] == found.diff[bottom]) is wanted


def test_writes_and_reads_stand_in_forward_order():
    found = shared(layer("a", "Power", "x") + layer("f", "Flatten", "a") + layer("r", "ReLU", "f", "f"))
    array = found.data[Blob("a")]
    assert found.writes[array] == ((1, Blob("a")), (3, Blob("f", 1)))
    assert found.reads[array] == ((2, 0), (3, 0))
    assert found.overwritten(Blob("a"), 1) == (3,)
    assert found.origin[Blob("f")] == Blob("a")


def test_dropout_overwrites_nothing_while_testing():
    text = layer("a", "Power", "x") + layer("d", "Dropout", "a", "a")
    assert shared(text, "TRAIN").left(Blob("a")) == Blob("a", 1)
    found = shared(text, "TEST")
    assert found.left(Blob("a")) == found.origin[Blob("a", 1)] == Blob("a", 0)


@dataclass
class Array:
    """Plain memory: a blob version wrote it last."""

    holds: Any = None


@st.composite
def nets(draw: Any) -> str:
    text, blobs, free = "", ["x"], ["x"]
    for number in range(draw(st.integers(1, 12))):
        bottom = draw(st.sampled_from(blobs))
        kind = draw(st.sampled_from(("Power", "Flatten", "ReLU in place", "Sigmoid in place", "Slice")))
        if kind.endswith("in place") and bottom in free:
            text += layer(f"l{number}", kind.split()[0], bottom, bottom)
        else:
            free = [each for each in free if each != bottom]
            text += layer(f"l{number}", kind.split()[0], bottom, f"b{number}")
            blobs.append(f"b{number}")
            free.append(f"b{number}")
    return text


@settings(max_examples=80, deadline=None)
@given(nets())
def test_content_and_what_is_left_are_those_of_plain_memory(text: str) -> None:
    graph = graph_of(text)
    found = share_arrays(graph.nodes)
    arrays: dict[Blob, Array] = {}
    for number, node in enumerate(graph.nodes):
        for bottom in node.bottoms:
            assert found.content(bottom, number) == arrays[bottom].holds
        passes_on = node.param.type in ("Split", "Flatten", "Slice")
        for top in node.tops:
            in_place = bool(node.bottoms) and top.name == node.bottoms[0].name
            arrays[top] = arrays[node.bottoms[0]] if passes_on or in_place else Array()
            if not passes_on:
                arrays[top].holds = top
    for blob, array in arrays.items():
        assert found.left(blob) == array.holds
        assert set(found.same_data(blob)) == {other for other, where in arrays.items() if where is array}
