"""Fields of forks' own messages that no code obeys: `check` names those that are set, a trace finds them unread."""

from __future__ import annotations

import pytest

import caffe_compat as cc
from caffe_compat.errors import CaffeCompatError
from caffe_compat.export.unobeyed import _UNOBEYED, unobeyed_fields
from caffe_compat.layers.base import Context
from caffe_compat.layers.registry import layer_class
from caffe_compat.proto.schema import LayerParameter
from tests.layers.test_fields_read import other_value
from tests.layers.tracing import traced

FIELDS = [(kind, path) for kind, paths in _UNOBEYED.items() for path in paths]
INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }'


@pytest.mark.parametrize(("kind", "path"), FIELDS)
def test_a_field_is_named_where_it_is_set_and_not_read_when_the_layer_is_made(kind: str, path: str) -> None:
    param = LayerParameter(name="lay", type=kind)
    getattr(param, path.split(".")[0]).SetInParent()
    assert unobeyed_fields(param) == []
    other_value(param, path)
    assert unobeyed_fields(param) == [path]
    reads = set[str]()
    try:
        layer_class(param)(traced(param, reads), Context(phase="TRAIN"))
    except CaffeCompatError as error:  # the layer wants more of its fields: but it does not speak of this one
        assert path.split(".")[-1] not in str(error).split("needs")[0].split("wanted")[0]
    assert path not in reads


def test_check_names_such_a_field_in_a_note() -> None:
    interp = 'layer { name: "i" type: "Interp" bottom: "x" top: "i" interp_param { zoom_factor: 2 %s } }'
    net = cc.parse_text(INPUT + interp % "use_blob_size: true", cc.NetParameter)
    (note,) = [note for note in cc.check(cc.Model(net)).notes if note.kind == "unread-field"]
    assert note.message == "layer 'i': interp_param.use_blob_size is not read here"
    plain = cc.check(cc.Model(cc.parse_text(INPUT + interp % "", cc.NetParameter)))
    assert not [note for note in plain.notes if note.kind == "unread-field"]
