"""Every field of a layer's settings is read by some code, or known to leave the numbers alone, or named by `check`.

What is read is traced: golden cases run on messages that note what they are asked for.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from functools import reduce

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.errors import CaffeCompatError, UnsupportedParameterError
from caffe_compat.export.caveats import ignored_fields, is_neutral
from caffe_compat.layers.registry import create_layer, layer_class
from caffe_compat.net.net import Net
from caffe_compat.proto.forks import added_fields
from caffe_compat.proto.schema import LayerParameter, NetParameter, is_repeated
from caffe_compat.proto.text import read_text
from tests.conftest import golden
from tests.layers.test_golden_layers import CASES, _case, _feeds
from tests.layers.tracing import traced

# Fields of Caffe's own messages that no layer reads, and why nothing is lost. Each leaves the numbers as they are.
UNREAD = {
    "convolution_param.engine": "cuDNN or not",
    "convolution_param.force_nd_im2col": "how columns are made",
    "lrn_param.engine": "cuDNN or not",
    "pooling_param.engine": "cuDNN or not",
    "relu_param.engine": "cuDNN or not",
    "sigmoid_param.engine": "cuDNN or not",
    "softmax_param.engine": "cuDNN or not",
    "spp_param.engine": "cuDNN or not",
    "tanh_param.engine": "cuDNN or not",
    "recurrent_param.debug_info": "prints while it runs",
    "python_param.share_in_parallel": "of several GPUs in one process",
}
# Im2col takes the message of Convolution for its windows alone, in Caffe too
OF_ANOTHER_TYPE = {("Im2col", f"convolution_param.{name}") for name in
                   ("num_output", "bias_term", "group", "weight_filler", "bias_filler")}  # fmt: skip
WITH = {"loss_param.pre_fixed_normalizer": "loss_param { normalization: PRE_FIXED }"}  # what a field needs to act
NOT_SETTINGS = ("blobs", "include", "exclude", "param")


@pytest.fixture(scope="module")
def reads() -> Iterator[dict[str, set[str]]]:
    """Layer type -> the paths of all fields that its golden cases read, while built and run forward."""
    found: dict[str, set[str]] = defaultdict(set)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(golden("layers"))
        patch.syspath_prepend(str(golden("layers")))
        patch.setattr(
            "caffe_compat.net.shapes.create_layer",
            lambda param, context: create_layer(traced(param, found[param.type]), context),
        )
        for name in CASES:
            expected, net = _case(name)
            net(**next(iter(_feeds(expected))))
        yield found


def own_fields(kind: str, reads: dict[str, set[str]]) -> Iterator[tuple[str, bool]]:
    """Path of each field in the messages that a type reads anything of, and whether only forks have it."""
    touched = {path.split(".")[0] for path in reads[kind]} - set(NOT_SETTINGS)
    for field in LayerParameter.DESCRIPTOR.fields:
        if field.message_type is not None and field.name in touched:
            message = field.message_type.full_name.removeprefix("caffe.")
            forks = added_fields().get(message, {})
            for inner in field.message_type.fields:
                is_forks = inner.name in forks or inner.number > 1000 or field.name in added_fields()["LayerParameter"]
                yield f"{field.name}.{inner.name}", is_forks


def test_every_field_of_caffes_own_is_read_or_known_to_leave_the_numbers_alone(reads: dict[str, set[str]]) -> None:
    everywhere = set().union(*reads.values())
    unread = {
        (kind, path)
        for kind in reads
        for path, is_forks in own_fields(kind, reads)
        if not is_forks and path not in reads[kind]
    }
    unexplained = {each for each in unread if each[1] not in UNREAD} - OF_ANOTHER_TYPE - READ_ELSEWHERE
    assert unexplained == set()
    assert not (set(UNREAD) & everywhere), "a field in UNREAD is read now"


# Read in tests of their own, not in the golden cases: how SigmoidCrossEntropyLoss of Caffe 1.0 normalises
READ_ELSEWHERE = {("SigmoidCrossEntropyLoss", "loss_param.normalize")}


def forks_fields() -> list[tuple[str, str, str]]:
    """(case, type, path): for each golden type a case, with each field that forks add to the messages of that type."""
    first: dict[str, str] = {}
    for name, case in CASES.items():
        for kind in case["types"]:
            first.setdefault(kind, name)
    found = []
    for kind, case in first.items():
        net = read_text(golden("layers", f"{case}.prototxt"), NetParameter)
        param = next((layer for layer in net.layer if layer.type == kind), None)
        for field, _ in param.ListFields() if param is not None else ():
            if field.message_type is None or field.name in NOT_SETTINGS or is_repeated(field):
                continue
            message = field.message_type.full_name.removeprefix("caffe.")
            names = [inner.name for inner in field.message_type.fields if inner.name in added_fields().get(message, {})]
            found += [(case, kind, f"{field.name}.{name}") for name in names]
    return found


@pytest.mark.parametrize(("case", "kind", "path"), forks_fields(), ids=lambda each: each)
def test_a_field_that_a_fork_adds_is_read_or_named_by_check(
    case: str, kind: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(golden("layers"))
    monkeypatch.syspath_prepend(os.fspath(golden("layers")))
    net = read_text(golden("layers", f"{case}.prototxt"), NetParameter)
    param = next(layer for layer in net.layer if layer.type == kind)
    if path in WITH:
        param.MergeFrom(cc.parse_text(f"layer {{ {WITH[path]} }}", NetParameter).layer[0])
    other_value(param, path)
    chosen = layer_class(param).choose(param, None)
    named = path in ignored_fields(param, chosen)
    read = set[str]()
    monkeypatch.setattr(
        "caffe_compat.net.shapes.create_layer",
        lambda each, context: create_layer(traced(each, read) if each.type == kind else each, context),
    )
    refused = False
    feed = next(iter(_feeds(dict(np.load(golden("layers", f"{case}.npz"))))))
    for phase in ("TRAIN", "TEST"):
        try:
            Net(net, phase=phase)(**feed)
        except UnsupportedParameterError:
            refused = True  # in a line that names it
        except CaffeCompatError:
            pass  # the value does not fit the case's bottoms: it was read, then
    assert path in read or named or refused or is_neutral(path)


def other_value(param: object, path: str) -> None:
    """Give the field at `path` another value than its default: a message its presence."""
    *messages, name = path.split(".")
    message = reduce(getattr, messages, param)
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None:
        getattr(message, name).SetInParent()
        return
    if field.enum_type is not None:
        value = next(each.number for each in field.enum_type.values if each.number != field.default_value)
    elif is_repeated(field) or field.default_value is None:
        value = 1 if field.cpp_type != field.CPPTYPE_STRING else "x"
    elif isinstance(field.default_value, bool):
        value = not field.default_value
    elif isinstance(field.default_value, str):
        value = f"{field.default_value}x"
    else:
        value = field.default_value + 1
    if is_repeated(field):
        getattr(message, name).append(value)
    else:
        setattr(message, name, value)


def test_a_field_without_effect_is_named_with_its_layer_and_the_forks_that_have_it() -> None:
    text = (
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }'
        'layer { name: "s" type: "Softmax" bottom: "x" top: "s" softmax_param { hard_ratio: 0.5 } }'
    )
    (found,) = cc.check(cc.Model(cc.parse_text(text, cc.NetParameter))).problems
    assert found.kind == "fork-field"
    assert found.message.startswith("layer 's': without effect here: softmax_param.hard_ratio (of ")
