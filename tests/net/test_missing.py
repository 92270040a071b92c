"""Which layers have blobs is told by their messages: as the layers of all golden cases have them."""

import json

import pytest

import caffe_compat as cc
from caffe_compat.net.missing import has_blobs
from tests.conftest import golden

CASES = {case["name"]: case for case in json.loads(golden("layers", "cases.json").read_text())}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "Python" not in case["types"]])
def test_a_message_tells_whether_its_layer_has_blobs(name, monkeypatch):
    monkeypatch.chdir(golden("layers"))
    compat = "wen2017" if CASES[name]["source"] == "caffe" else "bvlc"
    net = cc.Net(cc.read_net(f"{name}.prototxt"), phase=CASES[name]["phase"], compat=compat)
    for node, layer in net.steps:
        assert has_blobs(node.param) == bool(len(layer.blobs)), node.name


@pytest.mark.parametrize("fields, expected", [("", True), ("normalize_param { normalize_type: 'L2' }", False)])
def test_layers_of_one_type_in_two_forks_are_told_apart(fields, expected):
    text = 'layer { name: "n" type: "Normalize" bottom: "x" top: "n" ' + fields + " }"
    assert has_blobs(cc.parse_text(text, cc.NetParameter).layer[0]) is expected


def test_of_unknown_types_and_python_layers_nothing_is_known():
    net = cc.NetParameter()
    assert not has_blobs(net.layer.add(name="a", type="Unheard")) and not has_blobs(net.layer.add(type="Python"))
