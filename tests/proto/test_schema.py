"""The schema that the package ships: what it is compiled from, and that no fork's number replaces one of Caffe's."""

import csv
import importlib.util
from collections import Counter

import pytest

from caffe_compat.proto import schema
from tests.conftest import ROOT

FORKS = ROOT / "caffe_compat" / "proto" / "forks.tsv"


def rows():
    with open(FORKS, encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def test_schema_file_is_what_the_compiler_makes_of_its_sources():
    pytest.importorskip("grpc_tools")
    spec = importlib.util.spec_from_file_location("compile_schema", ROOT / "protos" / "compile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.compile_schema() == (ROOT / "caffe_compat" / "proto" / "caffe.binpb").read_bytes()


def test_every_line_of_the_forks_is_in_the_schema():
    for row in rows():
        if row["kind"] == "value":
            continue
        outer, *inner = row["message"].split(".")
        descriptor = schema.message_class(outer).DESCRIPTOR
        for name in inner:
            descriptor = descriptor.nested_types_by_name[name]
        field = descriptor.fields_by_name[row["name"]]
        assert field.number == int(row["number"])
        assert schema.is_repeated(field) == (row["label"] == "repeated")


def test_a_field_of_a_fork_stands_once():
    counts = Counter((row["kind"], row["message"], row["name"]) for row in rows())
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    ("message", "field", "number"),
    [
        # src/caffe/proto/caffe.proto at BVLC/caffe 9b89154
        ("LayerParameter", "blobs", 7), ("LayerParameter", "swish_param", 147), ("LayerParameter", "clip_param", 148),
        ("SolverParameter", "layer_wise_reduce", 41), ("SolverParameter", "weights", 42),
        ("PoolingParameter", "round_mode", 13), ("V1LayerParameter", "blobs", 6), ("V0LayerParameter", "blobs", 50),
        # and at wenwei202/caffe a551204
        ("ParamSpec", "force_mult", 6),
    ],
)  # fmt: skip
def test_number_is_that_of_caffe(message, field, number):
    assert schema.message_class(message).DESCRIPTOR.fields_by_name[field].number == number
