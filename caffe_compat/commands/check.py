"""Say of a net, its weights or both what is exact, approximate or unsupported, and everything that is wrong.

  caffe-compat check train_val.prototxt                      # the net alone
  caffe-compat check deploy.prototxt net.caffemodel          # and whether the weights fit
  caffe-compat check net.caffemodel                          # with the net that it has in itself

Nothing is run and no data is needed. The exit status is 0 where there is no problem, 1 where there is one, and 2 where
a file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.options import add_compat, add_input, add_state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="nets, and weights (.caffemodel or .caffemodel.h5)")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), help="default: each for which the net has data")
    add_state(parser)
    add_compat(parser)
    add_input(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(arguments: argparse.Namespace) -> int:
    nets = [path for path in arguments.files if not cc.is_binary(path)]
    weights = [path for path in arguments.files if path not in nets]
    reports, status = [], 0
    for path in nets or weights:
        try:
            report = check_one(path, weights if nets else [], arguments)
        except cc.CaffeCompatError as error:
            print(f"caffe-compat: {error}", file=sys.stderr)
            status = 2
            continue
        reports.append(report.to_json())
        status = max(status, 0 if report.clean else 1)
        if not arguments.json:
            print(f"{path}: {report}")
    if arguments.json:
        print("[" + ",\n".join(reports) + "]")
    return status


def check_one(path: str, weights: Sequence[str], arguments: argparse.Namespace) -> cc.Report:
    """The report on the net in `path`, with all of `weights`; those in the file itself where none are given."""
    model = cc.read_model(path)
    found = dict(model.weights)
    for file in weights:
        found.update(cc.read_weights(file, model.net))
    return cc.check(
        cc.Model(model.net, found),
        phases=[arguments.phase] if arguments.phase else [],
        level=arguments.level,
        stages=arguments.stage,
        compat=arguments.compat,
        input_shapes=dict(arguments.input),
        folder=Path(path).parent,
    )
