from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from caffe_compat.errors import GraphError
from caffe_compat.graph.graph import Blob, Graph, build_graph
from caffe_compat.graph.wiring import AUTOMATIC, LOSS_TYPES
from caffe_compat.layers.registry import loss_types
from caffe_compat.proto.model import read_net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden

WRITTEN_BY_CAFFE = [
    (net, caffemodel, phase)
    for folder, phase in (("formats/caffemodel", "TEST"), ("formats/logs", "TRAIN"), ("resume/*", "TRAIN"))
    for net in sorted(golden().glob(f"{folder}/net.prototxt"))
    for caffemodel in sorted(net.parent.glob("*.caffemodel"))
]


@pytest.mark.parametrize(("net", "caffemodel", "phase"), WRITTEN_BY_CAFFE, ids=lambda case: getattr(case, "stem", case))
def test_the_layers_are_those_that_caffe_wrote_into_a_caffemodel(net: Path, caffemodel: Path, phase: str) -> None:
    written = NetParameter.FromString(caffemodel.read_bytes())
    graph = build_graph(read_net(net), phase)
    found = [(n.name, n.param.type, list(n.param.bottom), list(n.param.top), n.param.phase) for n in graph.nodes]
    assert found == [(one.name, one.type, list(one.bottom), list(one.top), one.phase) for one in written.layer]
    assert graph.name == written.name


@pytest.mark.parametrize("log", ["train", "test", "time", "resume", "finetune"])
def test_layers_blobs_and_outputs_are_those_that_caffe_logged(log: str) -> None:
    net = read_net(golden("formats", "logs", "net.prototxt"))
    lines = re.findall(r"net\.cpp:\d+\] (.*)", golden("formats", "logs", f"{log}.log").read_text())
    wanted = [line for line in lines if re.search(r"^Creating Layer | <- | -> |produces output", line)]
    phases = {"test": ["TEST"], "time": ["TRAIN"]}.get(log, ["TRAIN", "TEST"])
    assert [line for phase in phases for line in _logged(build_graph(net, phase))] == wanted


def _logged(graph: Graph) -> list[str]:
    """What Caffe's log says of a graph while it is built."""
    lines = []
    for node in graph.nodes:
        lines.append(f"Creating Layer {node.name}")
        lines += [f"{node.name} <- {bottom.name}" for bottom in node.bottoms]
        lines += [f"{node.name} -> {top.name}" + (" (in-place)" if top.version else "") for top in node.tops]
    return lines + [f"This network produces output {name}" for name in graph.outputs]


def net(text: str) -> Any:
    return parse_text('name: "n" layer { name: "in" type: "Input" top: "data" top: "label" } ' + text, NetParameter)


def test_an_in_place_layer_makes_the_next_version_of_its_bottom() -> None:
    graph = build_graph(
        net(
            'layer { name: "a" type: "ReLU" bottom: "data" top: "data" } '
            'layer { name: "b" type: "ReLU" bottom: "data" top: "data" }'
        ),
        "TEST",
    )
    assert [(node.bottoms, node.tops) for node in graph.nodes[1:]] == [
        ((Blob("data", 0),), (Blob("data", 1),)),
        ((Blob("data", 1),), (Blob("data", 2),)),
    ]
    assert graph.outputs == ("data", "label")


def test_outputs_are_the_unconsumed_tops_in_alphabetical_order() -> None:
    graph = build_graph(
        net(
            'layer { name: "z" type: "ReLU" bottom: "data" top: "z" } '
            'layer { name: "B" type: "ReLU" bottom: "label" top: "B" }'
            'layer { name: "c" type: "DummyData" top: "a" }'
        ),
        "TEST",
    )
    assert graph.outputs == ("B", "a", "z")


def test_a_loss_without_a_top_makes_one_that_is_no_output() -> None:
    graph = build_graph(net('layer { name: "l" type: "EuclideanLoss" bottom: "data" bottom: "label" }'), "TEST")
    assert graph.nodes[-1].tops == (Blob(AUTOMATIC, 0),)
    assert graph.outputs == ()


def test_every_loss_of_caffe_is_registered_as_one() -> None:
    assert loss_types() >= LOSS_TYPES


def test_a_further_loss_type_may_leave_out_its_top_too() -> None:
    own = net('layer { name: "l" type: "MyLoss" bottom: "data" bottom: "label" }')
    assert build_graph(own, "TEST").nodes[-1].tops == ()
    assert build_graph(own, "TEST", loss_types={"MyLoss"}).nodes[-1].tops == (Blob(AUTOMATIC, 0),)


def test_a_phase_in_the_prototxt_stays_and_others_are_filled_in() -> None:
    graph = build_graph(net('layer { name: "a" type: "Dropout" bottom: "data" top: "a" phase: TEST }'), "TRAIN")
    assert [node.param.phase for node in graph.nodes] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'layer { name: "conv2" type: "ReLU" bottom: "dta" top: "x" }',
            "layer 'conv2': bottom 0 is 'dta', which no layer above makes; did you mean 'data'?",
        ),
        (
            'layer { name: "conv2" type: "ReLU" bottom: "zzz" top: "x" }',
            "layer 'conv2': bottom 0 is 'zzz', which no layer above makes; there are: data, label",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "b" top: "a" } '
            'layer { name: "b" type: "ReLU" bottom: "data" top: "b" }',
            "layer 'a': bottom 0 is 'b', which no layer above makes; layer 'b' makes it, but stands further down",
        ),
        (
            'layer { name: "t" type: "ReLU" bottom: "data" top: "t" include { phase: TRAIN } } '
            'layer { name: "b" type: "ReLU" bottom: "t" top: "b" }',
            "layer 'b': bottom 0 is 't', which no layer above makes; "
            "layer 't' does, but its include or exclude rules leave it out here",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "data" top: "x" } '
            'layer { name: "b" type: "ReLU" bottom: "label" top: "x" }',
            "layer 'b': top 'x' is made by layer 'a' already; give it another name",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "data" top: "data" } '
            'layer { name: "b" type: "ReLU" bottom: "data" top: "label" }',
            "layer 'b': top 'label' is made by layer 'in' already; give it another name",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "data" top: "x" } '
            'layer { name: "relu" type: "ReLU" bottom: "data" top: "data" }',
            "layer 'relu': top 'data' is made by layer 'in' already; give it another name",
        ),
        (
            'layer { name: "a" type: "Concat" bottom: "data" bottom: "label" top: "x" propagate_down: true }',
            "layer 'a': propagate_down is given 1 times; wanted none, or 2 as it has bottoms",
        ),
    ],
)
def test_layers_that_do_not_fit_are_named(text: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        build_graph(net(text), "TEST")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "field"), [('layers { name: "r" type: RELU bottom: "x" top: "y" }', "layers"), ('input: "data"', "input")]
)
def test_a_net_that_was_not_upgraded_is_refused(old: str, field: str) -> None:
    with pytest.raises(GraphError, match=f"net 'n' has the old field '{field}'; read it with read_model, which"):
        build_graph(parse_text(f'name: "n" {old}', NetParameter), "TEST")
