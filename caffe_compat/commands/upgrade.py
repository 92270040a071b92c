"""Rewrite an old net, solver or caffemodel in the current format, as Caffe's upgrade_net_proto_text,
upgrade_net_proto_binary and upgrade_solver_proto_text do.

What IN is shows by its content. OUT is text, or binary with the weights where it ends in .caffemodel.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.targets import add_force_overwrite, check_targets
from caffe_compat.commands.terminal import glog_lines

HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="a net (text or binary) or a solver, of any age")
    parser.add_argument("target", metavar="OUT", help="where the current form goes; not IN itself")
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    target = Path(arguments.target)
    binary = target.suffix == ".caffemodel"
    check_targets([target], [arguments.source], arguments.force_overwrite)
    with glog_lines():
        model = read(arguments.source)
    if isinstance(model, cc.Model):
        if binary:
            cc.write_net(target, model.net, model.weights, model.forms)
        else:
            cc.write_model(model, target)
        kind = "net with weights" if binary and model.weights else "net"
    else:
        if binary:
            raise cc.ParseError(f"{arguments.source}: a solver has no binary form; give OUT another name")
        with cc.write_atomically(target) as temporary:
            temporary.write_text(cc.format_text(model), encoding="utf-8")
        kind = "solver"
    print(f"{target}: {kind} in the current format")
    return 0


def read(path: str) -> Any:
    """The Model in a net's file, or the SolverParameter in a solver's; the net's ParseError for what is neither."""
    if Path(path).is_file():
        with cc.open_file(path) as file:
            if file.read(len(HDF5)) == HDF5:
                raise cc.ParseError(f"{path}: HDF5 holds no net and has one form only; there is nothing to upgrade")
    try:
        return cc.read_model(path)
    except cc.ParseError as error:
        try:
            solver = cc.parse_text("\n".join(cc.read_lines(path, cc.ParseError)), cc.SolverParameter, path)
        except cc.ParseError:
            raise error from None
        if not solver.ListFields():
            raise
        return cc.upgrade_solver(solver, path)
