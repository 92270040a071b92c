"""Old nets and solvers: what Caffe's own upgrade tools made of them, and what they refuse."""

import json
import logging

import pytest

from caffe_compat.errors import ParseError
from caffe_compat.proto import schema
from caffe_compat.proto.text import parse_text, read_text
from caffe_compat.proto.upgrade import upgrade_net, upgrade_solver
from tests.conftest import golden

NETS = sorted(json.loads(golden("formats", "upgrade_text", "index.json").read_text()))
SOLVERS = sorted(json.loads(golden("formats", "upgrade_solver", "index.json").read_text()))
REFUSED = {
    "mixed_layer_and_layers": "the net has both 'layer' ('a') and 'layers' ('b'); write every one as layer {",
    "v0_padding_into_relu": "layer 'r': padding goes into type 'relu'; only conv and pool can pad",
    "v0_padding_into_two_bottoms": "layer 'c': has 2 bottoms, one of them padded; wanted one",
    "v0_unknown_type": "layer 'p': unknown type 'frobnicate'; the first form has accuracy,",
    "v0_unknown_bottom": "layer 'p': bottom 'nowhere' is made by no layer before it",
    "unknown_field": "layer has no field 'no_such_field'",
    "solver_both_type_fields": 'the solver has both solver_type and type: "Adam"; keep type',
}


@pytest.mark.parametrize("case", NETS)
def test_net_is_what_caffe_made_of_it(case):
    folder = golden("formats", "upgrade_text")
    net = read_text(folder / f"{case}.in.prototxt", schema.NetParameter)
    before = net.SerializeToString(deterministic=True)
    assert upgrade_net(net) == read_text(folder / f"{case}.out.prototxt", schema.NetParameter)
    assert net.SerializeToString(deterministic=True) == before, "the net given was changed"


@pytest.mark.parametrize("case", SOLVERS)
def test_solver_is_what_caffe_made_of_it(case):
    folder = golden("formats", "upgrade_solver")
    solver = read_text(folder / f"{case}.in.prototxt", schema.SolverParameter)
    assert upgrade_solver(solver) == read_text(folder / f"{case}.out.prototxt", schema.SolverParameter)


@pytest.mark.parametrize("case", REFUSED)
def test_what_caffe_refuses_is_refused_with_path_and_reason(case):
    path = golden("formats", "upgrade_must_fail", f"{case}.prototxt")
    kind, upgrade = (
        (schema.SolverParameter, upgrade_solver) if case.startswith("solver") else (schema.NetParameter, upgrade_net)
    )
    with pytest.raises(ParseError) as caught:
        upgrade(read_text(path, kind), str(path))
    assert str(caught.value).startswith(f"{path}:") and REFUSED[case] in str(caught.value)


def test_each_parameter_that_the_old_type_cannot_use_is_logged(caplog):
    path = golden("formats", "upgrade_text", "v0_incompatible.in.prototxt")
    with caplog.at_level(logging.WARNING):
        upgrade_net(read_text(path, schema.NetParameter), str(path))
    log = json.loads(golden("formats", "upgrade_text", "index.json").read_text())["v0_incompatible"]["log"]
    unknown = [line for line in log if "Unknown parameter" in line]
    assert len(caplog.messages) == len(unknown)
    assert "layer 'r': type 'relu' has no parameter 'num_output'; it is dropped" in caplog.text


def test_a_negative_size_of_a_first_form_layer_is_refused():
    net = parse_text('layers { layer { name: "d" type: "images" new_height: -1 } top: "d" }', schema.NetParameter)
    with pytest.raises(ParseError, match="layer 'd': new_height is -1, wanted 0 or more"):
        upgrade_net(net)


def test_current_net_comes_back_itself():
    net = parse_text('layer { name: "a" type: "ReLU" }', schema.NetParameter)
    assert upgrade_net(net) is net


def test_input_without_shape_beside_one_with_shape_is_refused():
    net = parse_text('input: "a" input: "b" input_dim: [1, 2, 3, 4]', schema.NetParameter)
    with pytest.raises(ParseError, match="input 'b' has no shape"):
        upgrade_net(net)


def test_enum_type_of_a_fork_is_refused_by_name():
    net = parse_text('layers { name: "n" type: NORMALIZE }', schema.NetParameter)
    with pytest.raises(ParseError, match="layer 'n': type NORMALIZE is a fork's; write the layer as layer"):
        upgrade_net(net)


def test_unknown_field_of_an_old_layer_is_logged(caplog):
    layers = schema.V1LayerParameter.FromString(b"\x22\x01r\x28\x12\xb8\x3e\x01")
    with caplog.at_level(logging.WARNING):
        net = upgrade_net(schema.NetParameter(layers=[layers]))
    assert (net.layer[0].name, net.layer[0].type) == ("r", "ReLU")
    assert "layer 'r': field 999 is unknown; it is dropped" in caplog.text
