from __future__ import annotations

from typing import Any

import pytest

from caffe_compat.errors import GraphError
from caffe_compat.graph.rules import is_included, net_state
from caffe_compat.proto.schema import LayerParameter, NetParameter
from caffe_compat.proto.text import parse_text

NET = NetParameter(name="n")


def layer(rules: str) -> Any:
    return parse_text(f'name: "it" type: "ReLU" {rules}', LayerParameter)


@pytest.mark.parametrize(
    ("rules", "phase", "level", "stages", "included"),
    [
        ("", "TRAIN", 0, (), True),
        ("include { phase: TRAIN }", "TRAIN", 0, (), True),
        ("include { phase: TRAIN }", "TEST", 0, (), False),
        ("exclude { phase: TRAIN }", "TRAIN", 0, (), False),
        ("exclude { phase: TRAIN }", "TEST", 0, (), True),
        ("include { }", "TEST", 0, (), True),
        ("exclude { }", "TEST", 0, (), False),
        ("include { min_level: 1 }", "TEST", 0, (), False),
        ("include { min_level: 1 }", "TEST", 1, (), True),
        ("include { max_level: 1 }", "TEST", 1, (), True),
        ("include { max_level: 1 }", "TEST", 2, (), False),
        ("include { min_level: -2 max_level: -1 }", "TEST", -1, (), True),
        ('include { stage: "a" stage: "b" }', "TEST", 0, ("a",), False),
        ('include { stage: "a" stage: "b" }', "TEST", 0, ("b", "c", "a"), True),
        ('include { stage: "a" } include { stage: "b" }', "TEST", 0, ("b",), True),
        ('exclude { stage: "a" } exclude { stage: "b" }', "TEST", 0, ("b",), False),
        ('include { not_stage: "a" }', "TEST", 0, (), True),
        ('include { not_stage: "a" not_stage: "b" }', "TEST", 0, ("b",), False),
        ('include { stage: "a" not_stage: "b" phase: TRAIN }', "TRAIN", 0, ("a",), True),
        ('include { stage: "a" not_stage: "b" phase: TRAIN }', "TEST", 0, ("a",), False),
    ],
)
def test_a_rule_is_met_as_net_cpp_says(
    rules: str, phase: str, level: int, stages: tuple[str, ...], included: bool
) -> None:
    assert is_included(layer(rules), net_state(NET, phase, level, stages)) == included


def test_include_and_exclude_together_are_an_error() -> None:
    with pytest.raises(GraphError, match=r"layer 'it' has include and exclude rules; keep one of the two kinds"):
        is_included(layer("include { phase: TEST } exclude { phase: TRAIN }"), net_state(NET, "TEST"))


def test_the_state_joins_what_the_net_and_the_caller_say() -> None:
    net = parse_text('name: "n" state { phase: TRAIN level: 2 stage: "deploy" }', NetParameter)
    state = net_state(net, "TEST", stages=["fast", "deploy"])
    assert (state.phase, state.level, list(state.stage)) == (1, 2, ["deploy", "fast"])
    assert net_state(net, "TEST", level=5).level == 5


def test_an_unknown_phase_names_those_there_are() -> None:
    with pytest.raises(GraphError, match=r"net 'n': phase is 'train'; allowed: TRAIN, TEST"):
        net_state(NET, "train")


def test_stages_given_as_one_text_are_an_error() -> None:
    with pytest.raises(GraphError, match=r"stages is the text 'deploy'; give a list of stages"):
        net_state(NET, "TEST", stages="deploy")
