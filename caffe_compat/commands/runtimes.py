"""Options about other runtimes: --with runs files in them, --for writes what one of them computes right."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.options import comma_list

log = logging.getLogger(__name__)

Shapes = Mapping[str, tuple[int, ...]]


class _With(argparse.Action):
    """--with A,B adds runtimes, --opencv adds OpenCV, --no-opencv says not to run OpenCV even where it can."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        found = list(getattr(namespace, self.dest) or [])
        if option == "--no-opencv":
            namespace.no_opencv = True
            found = [name for name in found if name != "opencv"]
        else:
            found += ["opencv"] if option == "--opencv" else list(values or ())  # type: ignore[call-overload]
        setattr(namespace, self.dest, found)


def add_with(parser: argparse.ArgumentParser, what: str) -> None:
    """--with: which other runtimes run `what`."""
    parser.add_argument(
        "--with",
        dest="runtimes",
        type=comma_list,
        action=_With,
        default=[],
        metavar="A,B",
        help=f"run {what} with these too, each in a process of its own, and fail where an output differs: opencv, mnn, "
        "openvino, onnxruntime; with :caffe or :onnx behind it one reads that form",
    )


def add_opencv(parser: argparse.ArgumentParser) -> None:
    """--opencv and --no-opencv of `verify`, which runs OpenCV where it is installed."""
    parser.set_defaults(no_opencv=False)
    parser.add_argument("--opencv", dest="runtimes", action=_With, nargs=0, help="the same as --with opencv")
    parser.add_argument(
        "--no-opencv", dest="runtimes", action=_With, nargs=0, help="do not run OpenCV (default: where it is installed)"
    )


def add_for(parser: argparse.ArgumentParser, verb: str) -> None:
    """--for: which runtime the result is for."""
    parser.add_argument(
        "--for", dest="road", metavar="RUNTIME", help=f"{verb}; RUNTIME:caffe and RUNTIME:onnx name the form"
    )


def for_road(model: cc.Model, words: str | None, usual: str, shapes: Shapes, folder: Path | None = None) -> cc.Model:
    """`model` in a form that the runtime of --for computes right; itself without --for. usual: "caffe" or "onnx"."""
    if not words:
        return model
    name, form = cc.parse_road(words, usual)
    tell_version(f"{name}:{form}")
    return cc.for_runtime(model, f"{name}:{form}", shapes, folder)


def tell_version(road: str) -> str:
    """A line where the installed runtime is another version than what is known of `road` was seen with, else ""."""
    name, known = road.partition(":")[0], cc.known_version(road)
    here = cc.installed_version(name)
    if not here or not known or same_version(here, known):
        return ""
    line = (
        f"what is known of {road} was seen with version {known}; installed is {here}: --with {road} tells what it does"
    )
    log.warning("%s", line)
    return line


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same, but for a fourth number of a package and what a build adds."""
    return one.split("-")[0].split(".")[:3] == other.split("-")[0].split(".")[:3]


def check_with_option(runtimes: Sequence[str], usual: str) -> None:
    """DataError or SolverError, before any work, for a runtime of --with that is not known or not installed."""
    for words in runtimes:
        cc.needed_version(*cc.parse_road(words, usual))


def run_with(
    model: cc.Model,
    runtimes: Sequence[str],
    usual: str,
    files: Mapping[str, Sequence[str | os.PathLike[str]]],
    shapes: Shapes,
    shown: str,
    folder: Path | None = None,
    compat: str = "bvlc",
) -> dict[str, dict[str, float]]:
    """{runtime: {output: how far it is off}}; GraphError for an output that is off by more than the tolerance.

    files: {"caffe" or "onnx": what the runtime reads}; other forms are written for the occasion. Says on stderr where a
    runtime behaves otherwise than is known of it.
    """
    results = {}
    for words in dict.fromkeys(runtimes):
        name, form = cc.parse_road(words, usual)
        road = f"{name}:{form}"
        title = f"{cc.runtime_title(name)} {cc.installed_version(name) or ''}".strip()
        try:
            errors = cc.check_with(model, road, shapes or None, folder, files.get(form, ()), compat)
        except cc.UnsupportedLayerError as error:
            more = _known(model, road, shapes, folder, files.get(form, ()))
            raise cc.UnsupportedLayerError(f"{shown}: {error}{more}") from error
        results[words] = errors
        for blob, off in errors.items():
            if not off <= cc.RUNTIME_TOLERANCE:
                how = "has another shape" if math.isinf(off) else f"is off by {off:.3g} of its largest value"
                more = _known(model, road, shapes, folder, files.get(form, ()))
                raise cc.GraphError(f"{shown}: {title}'s output '{blob}' {how}{more}")
        _tell_better(model, road, shapes, folder, title)
    return results


def _differences(model: cc.Model, road: str, shapes: Shapes, folder: Path | None) -> list[str]:
    try:
        return [str(each) for each in cc.known_differences(model, road, shapes or None, folder)]
    except cc.CaffeCompatError:  # of a net whose data is not here; its deploy form ran
        return []


def _known(
    model: cc.Model, road: str, shapes: Shapes, folder: Path | None, files: Sequence[str | os.PathLike[str]]
) -> str:
    """The end of a message: what is known of the runtime that explains it, or that nothing is."""
    known = _differences(model, road, shapes, folder)
    if files:
        known += cc.known_of_files(road, os.fspath(files[0]), [os.fspath(file) for file in files[1:]])
    if known:
        return f"; known: {'; '.join(known)}"
    return f"; nothing is known of {road} {cc.known_version(road)}".rstrip() + " that explains it"


def _tell_better(model: cc.Model, road: str, shapes: Shapes, folder: Path | None, title: str) -> None:
    """Say where a runtime gives the right outputs although it is known to do otherwise."""
    for each in _differences(model, road, shapes, folder):
        print(f"{title} gives the right outputs here, although this is known: {each}", file=sys.stderr)
