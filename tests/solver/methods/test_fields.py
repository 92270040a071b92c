"""The table of methods: every field that it names is in the schema, and every field of a method is in it."""

import re

import pytest

import caffe_compat as cc
from caffe_compat.proto.schema import LayerParameter, ParamSpec, SolverParameter

NUMBERS = range(1041, 1200)  # of SolverParameter, where the methods' fields are; see protos/README.md
PLAIN = {"IF_update_row_col"}  # of the solver and of prune_param both
UNUSED = {"compRatio", "IF_compr_count_conv"}  # of IncReg's files, told to do nothing
ROWS = [*cc.OTHER_METHODS, *cc.TRAINING_METHODS]


def messages():
    return {"": (SolverParameter.DESCRIPTOR, LayerParameter.DESCRIPTOR), "param": (ParamSpec.DESCRIPTOR,)}


def parts(field):
    """("prune_param", ["prune_ratio"]) of "prune_param { prune_ratio }"; ("", [name]) of a plain one."""
    match = re.fullmatch(r"(\w+) \{ ([\w ]+) \}", field)
    return (match[1], match[2].split()) if match else ("", [field])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_a_row_names_fields_that_there_are(row):
    for owner, names in map(parts, row.fields):
        kinds = messages().get(owner) or [
            kind.fields_by_name[owner].message_type for kind in messages()[""] if owner in kind.fields_by_name
        ]
        assert kinds, owner
        for name in names:
            assert any(name in kind.fields_by_name for kind in kinds), f"{owner} {name}"


def test_every_field_of_a_method_is_in_the_table():
    named = {name for row in ROWS for owner, names in map(parts, row.fields) for name in ([owner] if owner else names)}
    ours = {f.name for f in SolverParameter.DESCRIPTOR.fields if f.number in NUMBERS}
    assert ours - named == UNUSED
