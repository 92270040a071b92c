"""Which layers compute with overwritten memory: by hand from Backward_cpu of Caffe's layers."""

from __future__ import annotations

import time

import pytest

from caffe_compat.graph.graph import Blob
from caffe_compat.graph.hazards import find_hazards
from tests.graph.test_sharing import graph_of, layer


def hazards(text: str, phase: str = "TRAIN") -> dict[str, list[str]]:
    """Layer -> where it finds other values: "read 0", "bottom 0", "top 0", "in place"."""
    graph = graph_of(text, phase)
    found = {}
    for number, hazard in find_hazards(graph.nodes).by_number.items():
        parts = (("read", hazard.read), ("bottom", hazard.bottoms), ("top", hazard.tops))
        words = [f"{word} {index}" for word, part in parts for index in part]
        found[graph.nodes[number].name] = words + ["in place"] * hazard.in_place
    return found


def chain(first: str, *in_place: str) -> str:
    kinds = [part.partition(" ") for part in in_place]
    return layer("a", *(first.partition(" ")[0], "x"), fields=first.partition(" ")[2]) + "".join(
        layer(f"t{k}", kind, "a", "a", fields) for k, (kind, _, fields) in enumerate(kinds)
    )


HARMLESS = {
    "the usual chain": chain("Convolution", "BatchNorm", "Scale", "ReLU", "Dropout"),
    "a ReLU, then Dropout": chain("InnerProduct", "ReLU", "Dropout"),
    "Sigmoid alone": chain("Convolution", "Sigmoid"),
    "ELU alone": chain("Convolution", "ELU"),
    "PReLU, which keeps its bottom": chain("Convolution", "PReLU"),
    "Power of scale 0": chain("Convolution", "Power power_param { scale: 0 }"),
    "MVN without variance": chain("Convolution", "MVN mvn_param { normalize_variance: false }"),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_keeps_its_own_copies_or_only_signs_is_no_hazard(case: str) -> None:
    assert hazards(HARMLESS[case]) == {}


FOUND = {
    "BNLL": (chain("Convolution", "BNLL"), {"t0": ["bottom 0"]}),
    "Clip": (chain("Convolution", "Clip"), {"t0": ["bottom 0"]}),
    "Log": (chain("Convolution", "Log"), {"t0": ["bottom 0", "in place"]}),
    "Power": (chain("Convolution", "Power power_param { scale: 2 }"), {"t0": ["in place"]}),
    "Power 3": (chain("Convolution", "Power power_param { power: 3 }"), {"t0": ["bottom 0", "in place"]}),
    "a ReLU of negative slope": (chain("Convolution", "ReLU relu_param { negative_slope: -1 }"), {"t0": ["bottom 0"]}),
    "a ReLU, then Scale": (chain("Convolution", "ReLU", "Scale"), {"t0": ["bottom 0"]}),
    "a Sigmoid's top": (chain("Sigmoid", "ReLU"), {"a": ["top 0"]}),
    "LRN": (chain("Convolution", "LRN"), {"t0": ["bottom 0", "in place"]}),
    "MVN": (chain("Convolution", "MVN"), {"t0": ["in place"]}),
    "a larger window": (
        chain("Power", "Convolution convolution_param { kernel_size: 3 pad: 1 }"),
        {"t0": ["bottom 0"]},
    ),
    "Convolution of one value": (
        chain("Power", "Convolution convolution_param { kernel_size: 1 }"),
        {"t0": ["bottom 0", "in place"]},
    ),
    "InnerProduct": (
        chain("Flatten", "InnerProduct inner_product_param { num_output: 3 }"),
        {"t0": ["bottom 0", "in place"]},
    ),
    "a reader behind the change": (
        layer("a", "Power", "x")
        + layer("f", "Flatten", "a")
        + layer("r", "TanH", "f", "f")
        + layer("c", "InnerProduct", "a"),
        {"c": ["read 0"]},
    ),
    "a reader before the change, for its gradient": (
        layer("a", "Power", "x")
        + layer("c", "InnerProduct", "a")
        + layer("f", "Flatten", "a")
        + layer("r", "TanH", "f", "f"),
        {"c": ["bottom 0"]},
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_who_finds_its_memory_overwritten(case: str) -> None:
    text, wanted = FOUND[case]
    assert hazards(text) == wanted


def test_max_pooling_in_place_has_no_values():
    found = find_hazards(graph_of(chain("Power", "Pooling pooling_param { kernel_size: 1 }")).nodes)
    assert "writes its gradient outside of any array" in found.by_number[2].undefined
    average = find_hazards(graph_of(chain("Power", "Pooling pooling_param { kernel_size: 1 pool: AVE }")).nodes)
    assert not average.by_number[2].undefined


def test_notes_speak_of_the_names_in_the_prototxt():
    text, _ = FOUND["a reader behind the change"]
    (hazard,) = find_hazards(graph_of(text).nodes).by_number.values()
    assert hazard.notes == (("layer 'r' has overwritten its bottom 'a' before it is read", True),)


def test_blobs_that_end_up_as_others_are_known():
    text, _ = FOUND["a reader behind the change"]
    found = find_hazards(graph_of(text).nodes)
    assert found.final[Blob("a")] == Blob("f", 1)
    assert Blob("f", 1) not in found.final


def test_thousands_of_layers_take_no_time():
    text = "".join(layer(f"c{k}", "Convolution", f"c{k - 1}" if k else "x") + layer(f"r{k}", "ReLU", f"c{k}", f"c{k}")
                   for k in range(1500))  # fmt: skip
    nodes = graph_of(text).nodes
    start = time.perf_counter()
    assert not find_hazards(nodes)
    assert time.perf_counter() - start < 2  # 0.1 s on one core


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (layer("a", "Reshape", "x") + layer("f", "Flatten", "a"), ["f"]),
        (layer("a", "Slice", "x") + layer("f", "Flatten", "a"), ["f"]),
        (layer("a", "Concat", "x") + layer("r", "PReLU", "a", "a") + layer("f", "Flatten", "a"), ["f"]),
        (layer("a", "Reshape", "x") + layer("r", "AbsVal", "a") + layer("f", "Flatten", "r"), []),
        (layer("a", "Reshape", "x") + layer("f", "Flatten", "a") + layer("g", "AbsVal", "a"), []),  # a Split between
        (layer("a", "Flatten", "x") + layer("f", "Flatten", "a"), []),
        (layer("a", "Flatten", "x") + layer("f", "Reshape", "a"), []),
    ],
)
def test_flatten_takes_the_gradient_of_who_shares_its_array(text: str, lost: list[str]) -> None:
    assert [name for name, _ in find_hazards(graph_of(text, "TRAIN").nodes).lost_gradients] == lost
