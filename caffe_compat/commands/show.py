"""Say what is in a file: a net as a table of layer, type, tops, shape, parameters, multiply-adds per image; weights, a
solver's state, a mean, HDF5, .npy and databases by their blobs, shapes, precision and first records.

A caffemodel is shown by its blobs, without reading them; as the net that it holds with --phase, --code, --html or
--input. --code prints the PyTorch program that a net became.

With --html, draw it: one page without anything outside it, with the shapes, parameters and multiply-adds of each layer,
and with --weights the rank at which its filters keep 95 % of their energy.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.contents import is_database, show_database, show_file
from caffe_compat.commands.numbers import real_number
from caffe_compat.commands.options import add_compat, add_input, add_net, add_state, add_weights, input_options, one_of
from caffe_compat.commands.targets import add_force_overwrite, check_targets

TRAIN = 0  # caffe.proto, Phase; a snapshot gives it to every layer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), help="of a net, default TEST")
    parser.add_argument("--statistics", action="store_true", help="of blobs: least, greatest, mean, std, zeros")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_state(parser)
    add_compat(parser)
    add_weights(parser)
    parser.add_argument("--html", metavar="PATH", help="write a page that draws the net, instead of the table")
    parser.add_argument(
        "--keep", type=real_number(0, 1), default=0.95, metavar="F", help="energy for the ranks there, default 0.95"
    )
    parser.add_argument("--code", action="store_true", help="print the PyTorch program instead of the table")
    add_input(parser)
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    if sum(map(bool, (arguments.html, arguments.code, arguments.json))) > 1:
        raise cc.SolverError("show: --html, --code and --json are forms of one thing; choose one")
    path = one_of(arguments.net, arguments.model, "net", "--model")
    check_targets([arguments.html], [path, *arguments.weights], arguments.force_overwrite)
    as_net = arguments.phase or arguments.html or arguments.code or arguments.input or arguments.weights
    if is_database(Path(path)) or os.path.isdir(path):
        print(show_database(Path(path), arguments.json))
        return 0
    if not as_net and cc.is_binary(path):
        print(show_file(Path(path), arguments.statistics, arguments.json))
        return 0
    if arguments.statistics:
        raise cc.SolverError(f"{path}: --statistics are of files of blobs; a net's prototxt has none")
    arguments.phase = arguments.phase or "TEST"
    show_net(path, arguments)
    return 0


def show_net(path: str, arguments: argparse.Namespace) -> None:
    """Print or draw the net in `path`, or print the solver that it turns out to be."""
    try:
        model = cc.read_model(path, arguments.weights or None)
    except cc.ParseError:
        if not cc.is_binary(path):
            with suppress(cc.ParseError):
                solver = cc.read_solver(path)
                if {field.name for field, _ in solver.ListFields()} != {"snapshot_prefix"}:  # which each has
                    print(cc.format_text(solver), end="")
                    return
        raise
    if arguments.weights and not model.weights:
        files = ", ".join(arguments.weights)
        raise cc.WeightsError(f"{files}: has no weights for any layer of {path}; are they of this net?")
    runs = arguments.html or arguments.code or model.weights  # which may not fit
    kind = cc.Net if runs else cc.Description
    net = build(kind, model, Path(path).parent, arguments)
    if arguments.html:
        write_page(net, model, arguments)
    elif arguments.json:
        rows = [facts._asdict() for facts in net.layer_facts()]
        print(json.dumps({"net": net.graph.name, "phase": net.graph.phase, "batch": net.batch_size, "layers": rows}))
    else:
        print(net.graph_module.code if arguments.code else net)


def build(kind: Any, model: cc.Model, folder: Path, arguments: argparse.Namespace) -> Any:
    """The cc.Net of `model`, or its Description; its data may lie in `folder`. An error tells the option that helps."""
    given = dict(arguments.input)
    try:
        told = cc.common_shapes([model], arguments.phase, given, arguments.level, arguments.stage, [folder])
        return kind(
            model,
            phase=arguments.phase,
            level=arguments.level,
            stages=arguments.stage,
            compat=arguments.compat,
            input_shapes={**told[0], **given} or None,
            folder=folder,
        )
    except cc.DataError as error:
        raise cc.DataError(f"{error}; or tell the shapes: {input_options(model)}") from None
    except cc.GraphError as error:
        phases = {layer.phase for layer in model.net.layer if layer.HasField("phase")}
        if arguments.phase == "TEST" and phases == {TRAIN}:
            raise cc.GraphError(f"{error}; or, as this is a snapshot of training, --phase TRAIN") from None
        raise


def write_page(net: cc.Net, model: cc.Model, arguments: argparse.Namespace) -> None:
    """Write the page that draws `net`, with ranks if there are weights."""
    trained = cc.Model(model.net, {name: blobs for name, blobs in model.weights.items() if name in net.layers})
    ranks = cc.ranks_by_energy(trained, arguments.keep, inner_product=True) if trained.weights else {}
    page = cc.html_page(net, {name: rank for name, rank in ranks.items() if name in net.layers}, arguments.keep)
    with cc.write_atomically(arguments.html) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"{arguments.html}: net '{net.graph.name}' drawn")
