"""What is known of other runtimes agrees with what real ones did: tests/golden/runtimes holds that, net by net.

`outcomes.tsv` has the nets of ../shared/cases/runtimes, `layers.tsv` small nets of its own, `onnx.tsv` such nets whose
ONNX files were run; MNN 3.6.1, OpenCV 4.14.0
and 5.0.0, ONNX Runtime 1.32.0, OpenVINO 2026.4.1 and onnx 1.23.2 ran them beside this package, right being within 1e-4
of an output's largest value and of the same sizes.
"""

from __future__ import annotations

import csv
import zlib
from typing import Any

import pytest

import caffe_compat as cc
from caffe_compat.export.runtimes.facts import EFFECTS, facts
from caffe_compat.export.runtimes.place import CONDITIONS
from caffe_compat.export.runtimes.rewriting import FORMS
from caffe_compat.export.runtimes.running import RUNTIMES
from tests.conftest import golden, shared

VERSIONS = {"opencv4:caffe": "4.14.0", "opencv4:onnx": "4.14.0", "opencv5:onnx": "5.0.0"}


def rows(name: str) -> list[dict[str, str]]:
    text = golden("runtimes", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def parsed(text: str) -> cc.Model:
    return cc.Model(cc.parse_text(text, cc.NetParameter), {})


def found(model: cc.Model, column: str) -> list[Any]:
    """What is known of a column of the files: a road, with the main version behind the runtime's name."""
    runtime, _, form = column.partition(":")
    road = f"{runtime.rstrip('45')}:{form}"
    known = cc.known_differences(model, road, version=VERSIONS.get(column, ""))
    return [each for each in known if each.effect != "not-tried"]


LAYERS = rows("layers.tsv")
ONNX = rows("onnx.tsv")
SOME = [row for row in LAYERS if zlib.crc32(row["name"].encode()) % 24 == 0]


def disagreements(given: list[tuple[str, cc.Model, dict[str, str]]]) -> list[str]:
    wrong = []
    for name, model, outcomes in given:
        for column, outcome in outcomes.items():
            if outcome != "-" and (outcome == "right") != (not found(model, column)):
                wrong.append(f"{name}, {column}: {outcome}")
    return wrong


def without(row: dict[str, str], *keys: str) -> dict[str, str]:
    return {key: value for key, value in row.items() if key not in keys}


def test_what_real_runtimes_did_with_small_nets_is_what_is_known() -> None:
    assert len(SOME) > 20
    given = [(row["name"], parsed(row["net"]), without(row, "name", "net")) for row in SOME]
    assert disagreements(given) == []


def test_what_real_runtimes_did_with_onnx_files_is_what_is_known() -> None:
    """A net that a threshold in it alone made right, by its values, has "-" in the column."""
    some = [row for row in ONNX if zlib.crc32(row["name"].encode()) % 4 == 0]
    assert len(some) > 40
    assert disagreements([(row["name"], parsed(row["net"]), without(row, "name", "net")) for row in some]) == []


@pytest.mark.slow
def test_what_real_runtimes_did_with_all_onnx_files_is_what_is_known() -> None:
    given = [(row["name"], parsed(row["net"]), without(row, "name", "net")) for row in ONNX]
    assert disagreements(given) == []


@pytest.mark.slow
def test_what_real_runtimes_did_with_all_small_nets_is_what_is_known() -> None:
    given = [(row["name"], parsed(row["net"]), without(row, "name", "net")) for row in LAYERS]
    assert disagreements(given) == []


def test_the_shared_nets_are_classified_as_the_runtimes_ran_them() -> None:
    folder = shared("cases", "runtimes", "nets")
    names = {row["case"]: row for row in rows("outcomes.tsv")}
    assert len(names) == 208
    given = [(name, cc.read_model(folder / name / "net.prototxt"), without(row, "case")) for name, row in names.items()]
    assert disagreements(given) == []


@pytest.mark.parametrize("column", ["mnn:caffe", "opencv4:caffe"])
def test_what_is_not_taken_is_told_from_what_comes_out_otherwise(column: str) -> None:
    """But where a blob of another shape stops a layer behind, as an InnerProduct behind a pad that was lost."""
    folder = shared("cases", "runtimes", "nets")
    for row in rows("outcomes.tsv"):
        if row[column] == "right" or row["case"].startswith("dec_onlypad"):
            continue
        effects = {each.effect for each in found(cc.read_model(folder / row["case"] / "net.prototxt"), column)}
        assert ("not-taken" in effects) == (row[column] == "not-taken"), row["case"]


def test_every_row_of_the_table_is_well_formed() -> None:
    import caffe_compat.export.runtimes.forms  # noqa: F401

    for fact in facts():
        name, _, form = fact.road.partition(":")
        assert form in RUNTIMES[name].forms and fact.version and fact.says and fact.row
        assert fact.effect in {"right", *EFFECTS} and fact.when in CONDITIONS
        assert not fact.form or fact.form in FORMS, fact.form
    assert {fact.form for fact in facts()} - {""} == set(FORMS)
    assert {fact.when for fact in facts()} == set(CONDITIONS)


def test_the_rows_name_cases_that_are_there() -> None:
    cases = {row["case"] for row in rows("outcomes.tsv")}
    assert all(fact.row in cases for fact in facts() if fact.row != "-" and not fact.row[0].isdigit())


def test_a_fact_is_told_with_layer_version_and_row() -> None:
    model = parsed(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 5 dim: 6 } } }'
        'layer { name: "norm" type: "LRN" bottom: "data" top: "norm" lrn_param { k: 2 } }'
    )
    (known,) = cc.known_differences(model, "mnn:caffe")
    assert str(known) == (
        "layer 'norm' (LRN): MNN 3.6.1 ignores: k of ACROSS_CHANNELS, without a word (row 5); "
        "--for mnn:caffe writes another form"
    )
    assert cc.known_differences(model, "openvino:onnx") == []
    model.net.layer[1].lrn_param.k = 1.5
    (known,) = cc.known_differences(model, "openvino:onnx")
    assert str(known).startswith(
        "layer 'norm' (LRN): OpenVINO 2026.4.1 computes otherwise: k of ACROSS_CHANNELS is cut"
    )
    made = cc.for_runtime(model, "openvino:onnx")
    assert made.net.layer[1].lrn_param.k == 1 and made.net.layer[2].type == "Power"


def test_a_type_that_was_never_tried_is_called_that() -> None:
    model = parsed(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 5 dim: 6 } } }'
        'layer { name: "l" type: "CReLU" bottom: "data" top: "l" }'.replace("CReLU", "Sparsify")
    )
    (known,) = cc.known_differences(model, "mnn:caffe")
    assert known.effect == "not-tried" and "was not looked at" in str(known)
    assert cc.for_runtime(model, "mnn:caffe").net == model.net
