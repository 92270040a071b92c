"""Five hundred prototxt files of public repositories: whatever a real Caffe reads, we read; the rest is explained."""

import json
import re
import zipfile

import pytest

from caffe_compat.errors import ParseError
from caffe_compat.layers.registry import known_types
from caffe_compat.proto import schema
from caffe_compat.proto.dialects import detect
from caffe_compat.proto.text import format_text, parse_text
from caffe_compat.proto.upgrade import upgrade_net, upgrade_solver
from tests.conftest import shared

# Caffe parses these two and then refuses them: type locally_connected is in no Caffe
NEVER_RUN = {"BVLC__caffe/examples/deepface/deepface.prototxt", "BVLC__caffe/examples/deepface/deepface_val.prototxt"}


@pytest.fixture(scope="module")
def files():
    with zipfile.ZipFile(shared("prototxt", "prototxt.zip")) as archive:
        index = json.loads(archive.read("index.json"))
        return [(entry, archive.read(entry["local"]).decode("utf-8", "surrogateescape")) for entry in index]


def read(entry, text):
    is_solver = entry["kind"] == "solver" or "base_lr" in text
    message = parse_text(text, schema.SolverParameter if is_solver else schema.NetParameter, entry["local"])
    return (upgrade_solver if is_solver else upgrade_net)(message, entry["local"])


@pytest.mark.slow
def test_every_file_that_a_real_caffe_reads_is_read_and_survives_writing(files):
    count = 0
    for entry, text in files:
        readers = [name for name in entry["parses_with"] if "allow_unknown" not in name]
        if readers and entry["local"] not in NEVER_RUN:
            message = read(entry, text)
            assert parse_text(format_text(message), type(message)) == message, entry["local"]
            count += 1
    assert count == 450


@pytest.mark.slow
def test_every_other_file_is_read_or_refused_with_its_place_and_reason(files):
    for entry, text in files:
        if not entry["parses_with"] or entry["local"] in NEVER_RUN:
            try:
                read(entry, text)
            except ParseError as error:
                place = re.escape(entry["local"]) + (": " if entry["local"] in NEVER_RUN else r":\d+:\d+: ")
                assert re.match(place + r"\S.{15,}$", str(error)), str(error)


@pytest.mark.slow
def test_only_files_that_caffe_cannot_read_are_taken_for_a_forks(files):
    for entry, text in files:
        if entry["kind"] == "net" and "BVLC_caffe" in entry["parses_with"] and entry["local"] not in NEVER_RUN:
            assert detect(read(entry, text)).name == "bvlc", entry["local"]


@pytest.mark.slow
def test_every_layer_type_of_these_files_is_known(files):
    types = set()
    for entry, text in files:
        if entry["kind"] == "net" and "base_lr" not in text:
            try:
                types.update(layer.type for layer in read(entry, text).layer)
            except ParseError:
                continue
    assert not types - set(known_types())
