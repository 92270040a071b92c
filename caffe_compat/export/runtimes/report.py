"""What is known of runtimes put into the report of a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from caffe_compat.errors import CaffeCompatError
from caffe_compat.export.check_report import Finding, Report
from caffe_compat.export.runtimes.compare import parse_road
from caffe_compat.export.runtimes.facts import known_by_type, known_differences, known_version
from caffe_compat.export.runtimes.running import RUNTIMES, installed_version
from caffe_compat.layers.base import Shape
from caffe_compat.proto.model import is_binary, read_model
from caffe_compat.proto.reading import read_bytes
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text


def roads_of(words: str) -> list[str]:
    """The roads that `RUNTIME` or `RUNTIME:FORM` names: of a runtime alone every form that it reads."""
    name, form = parse_road(words)
    return [f"{name}:{form}"] if ":" in words else [f"{name}:{each}" for each in RUNTIMES[name].forms]


def with_runtimes(
    report: Report, path: str, weights: Sequence[str], roads: Sequence[str], input_shapes: Mapping[str, Shape]
) -> Report:
    """`report` on the net in `path` with what is known of each of `roads`: findings of the kind "runtime".

    What a runtime does otherwise is a problem; that another version of it is installed than it was seen with, and that
    nothing is known, are notes.
    """
    problems, notes = list(report.problems), list(report.notes)
    model = read_model(path)
    for road in roads:
        notes += [Finding("", "runtime", line) for line in _about_version(road)]
        problems += [Finding("", "runtime", line) for line in known_of_files(road, path, weights)]
        try:
            found = known_differences(model, road, input_shapes, Path(path).parent)
        except CaffeCompatError as error:
            notes.append(Finding("", "runtime", f"{road}: looked at the types of the layers only: {error}"))
            found = known_by_type(model, road)
            problems += [Finding(each.layer, "runtime", str(each)) for each in found]
            continue
        for each in found:
            (notes if each.effect == "not-tried" else problems).append(Finding(each.layer, "runtime", str(each)))
        if not found:
            title = RUNTIMES[road.partition(":")[0]].title
            version = known_version(road)
            seen = f"seen with {version}" if version else "none was seen to differ"
            notes.append(Finding("", "runtime", f"{road}: nothing is known that {title} does otherwise here ({seen})"))
    return replace(report, problems=tuple(problems), notes=tuple(notes))


def _about_version(road: str) -> list[str]:
    known, here = known_version(road), installed_version(road.partition(":")[0])
    if not known or not here or here.split("-")[0].split(".")[:3] == known.split(".")[:3]:
        return []
    return [f"{road}: known of version {known}; installed is {here}, which --with of verify and export tries"]


def known_of_files(road: str, path: str, weights: Sequence[str]) -> list[str]:
    """What of the files themselves the runtime of `road` does not take: old prototxts, weights as HDF5."""
    name, _, form = road.partition(":")
    if form != "caffe":
        return []
    found = [
        f"{RUNTIMES[name].title} does not take {file}: it reads .caffemodel; caffe-compat convert writes one"
        for file in weights
        if file.endswith(".h5")
    ]
    if name == "mnn" and _is_old(path):
        found.append(
            f"MNN {known_version(road)} makes an empty net of {path}, whose layers are in the form before 2014 (row 1);"
            " caffe-compat upgrade writes the current one"
        )
    return found


def _is_old(path: str) -> bool:
    """Whether a prototxt, or the net in a caffemodel, has `layers`."""
    if is_binary(path):
        return False
    return bool(parse_text(read_bytes(path).decode("utf-8", "replace"), NetParameter).layers)
