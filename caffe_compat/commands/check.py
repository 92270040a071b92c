"""Say of a net, its weights or both what is exact, approximate or unsupported, and everything that is wrong.

  caffe-compat check train_val.prototxt                      # the net alone
  caffe-compat check deploy.prototxt net.caffemodel          # and whether the weights fit
  caffe-compat check net.caffemodel                          # with the net that it has in itself
  caffe-compat check deploy.prototxt --for mnn,opencv        # and what these runtimes do otherwise

Nothing is run; data is not needed, but where it is here its first records are read. One run
lists everything, of a prototxt that cannot be read every mistake. The
exit status is 0 where there is no problem, 1 where there is one, and 2 where a file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.options import add_compat, add_input, add_state, comma_list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="nets, and weights (.caffemodel or .caffemodel.h5)")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), help="default: each for which the net has data")
    add_state(parser)
    add_compat(parser)
    add_input(parser)
    parser.add_argument(
        "--for",
        dest="roads",
        type=comma_list,
        action="extend",
        default=[],
        metavar="RUNTIME",
        help="also list what this runtime is known to compute otherwise, ignore or not take: mnn, opencv, openvino, "
        "onnxruntime; with :caffe or :onnx behind it of one form only",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(arguments: argparse.Namespace) -> int:
    roads = [road for words in arguments.roads for road in cc.roads_of(words)]
    nets, weights = list[str](), list[str]()
    faults = dict[str, None]()
    for path in arguments.files:
        try:
            (weights if is_weights(path) else nets).append(path)
        except cc.CaffeCompatError as error:
            faults[str(error)] = None
    reports = []
    for path in nets or weights:
        report = check_one(path, weights if nets else [], arguments, faults)
        if report is not None:
            if roads:
                report = cc.with_runtimes(report, path, weights, roads, dict(arguments.input))
            reports.append(report)
            if not arguments.json:
                print(f"{path}: {report}")
    if arguments.json:
        print("[" + ",\n".join(report.to_json() for report in reports) + "]")
    for fault in faults:
        print(f"caffe-compat: {fault}", file=sys.stderr)
    return 2 if faults else int(not all(report.clean for report in reports))


def is_weights(path: str) -> bool:
    """Whether the file at `path` holds weights, by its content; ParseError where its name alone says so."""
    if cc.is_binary(path):
        return True
    if path.endswith((".caffemodel", ".h5", ".solverstate")):
        cc.read_weights(path)  # which says what this is instead
    return False


def check_one(
    path: str, weights: Sequence[str], arguments: argparse.Namespace, faults: dict[str, None]
) -> cc.Report | None:
    """The report on the net in `path`, with all of `weights`; those in the file itself where none are given.

    What cannot be read goes into `faults`, every line of it; None where that is the net.
    """
    model = None
    try:
        model = cc.read_model(path) if cc.is_binary(path) else cc.Model(cc.read_net(path))
    except cc.CaffeCompatError as error:
        found = [] if cc.is_binary(path) else cc.find_faults(path)
        faults.update(dict.fromkeys(map(str, found)) or {str(error): None})
    arrays = dict(model.weights) if model else {}
    weights_nets = {}
    read = []
    for file in weights:
        try:
            arrays.update(cc.read_weights(file, model.net if model else None))
            read.append(file)
            with suppress(cc.ParseError):  # HDF5 has no net in it
                weights_nets[file] = cc.read_net(file)
        except cc.CaffeCompatError as error:
            faults[str(error)] = None
    if model is None:
        return None
    return cc.check(
        cc.Model(model.net, arrays),
        phases=[arguments.phase] if arguments.phase else [],
        level=arguments.level,
        stages=arguments.stage,
        compat=arguments.compat,
        input_shapes=dict(arguments.input),
        folder=Path(path).parent,
        weights_nets=weights_nets,
        weights_files=read,
    )
