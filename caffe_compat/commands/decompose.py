"""Replace layers by chains of low rank, in the net and in its weights.

caffe-compat decompose NET WEIGHTS --keep 0.95
caffe-compat decompose NET WEIGHTS --ranks conv1=13,conv2=27 --method conv1=separable --out small
caffe-compat decompose NET WEIGHTS --budget latency=0.5 --method pca,separable --threads 2
caffe-compat decompose NET WEIGHTS --keep 0.9 --fit nonlinear --batches 20     (to images of the net's own data)
caffe-compat decompose --prototxt NET --caffemodel WEIGHTS --rankratio 0.95     (the paper's nn_decomposer.py)

Writes NET.lowrank.prototxt, WEIGHTS.lowrank.caffemodel.h5 and, for a net that can be trained, a solver that fine-tunes
them, NET.lowrank.solver.prototxt. What stands there already is kept unless --force-overwrite is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands import fitting
from caffe_compat.commands.advice import reason_of
from caffe_compat.commands.choosing import choose_ranks, naming_the_exception, tell_nothing
from caffe_compat.commands.costs import add_json, costs_of, print_json
from caffe_compat.commands.numbers import input_shape, real_number, whole_number
from caffe_compat.commands.options import (
    METHODS,
    add_allow_missing,
    comma_list,
    input_options,
    known_shapes,
    one_of,
    set_threads,
    with_fillers,
)
from caffe_compat.commands.runtimes import add_for, for_road
from caffe_compat.commands.targets import add_force_overwrite, check_targets
from caffe_compat.commands.terminal import glog_lines
from caffe_compat.commands.verify import certify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", nargs="?", metavar="NET", help="the net's prototxt")
    parser.add_argument("weights", nargs="?", metavar="WEIGHTS", help="its .caffemodel or .caffemodel.h5")
    parser.add_argument("--prototxt", metavar="NET", help="the same, by the fork's name")
    parser.add_argument("--caffemodel", metavar="WEIGHTS", help="the same, by the fork's name")
    _add_ranks(parser)
    parser.add_argument(
        "--method",
        "--lra-type",
        type=comma_list,
        default=("pca",),
        metavar="M",
        help=f"{', '.join(METHODS)}; NAME=M for single layers; with --budget those to choose from (default pca)",
    )
    parser.add_argument("--except-layers", metavar="A,B", help="layers to leave alone: names, or a JSON list of them")
    parser.add_argument(
        "--enable-fc", action=argparse.BooleanOptionalAction, default=False, help="decompose InnerProducts too"
    )
    parser.add_argument(
        "--multiple", type=whole_number(1), default=1, metavar="N", help="round each group's rank up to a multiple of N"
    )
    fitting.add_fit(parser)
    parser.add_argument("--split-groups", action="store_true", help="make grouped Convolutions parallel layers first")
    parser.add_argument(
        "--out", metavar="PREFIX", help="write PREFIX.prototxt, PREFIX.caffemodel, PREFIX.solver.prototxt"
    )
    add_for(parser, "write layers in a form that this runtime computes right, or refuse by name (TEST net)")
    parser.add_argument(
        "--solver",
        metavar="SOLVER",
        help="what trained NET; the fine-tune solver follows it (default: AlexNet's, so 150,000 iterations)",
    )
    add_force_overwrite(parser)
    parser.add_argument(
        "--certificate", metavar="PATH", help="check the written files and write what was found as JSON"
    )
    add_allow_missing(parser)
    add_json(parser)
    parser.add_argument("--threads", type=whole_number(), metavar="N", help="CPU threads, for --budget latency")
    parser.add_argument(
        "--latency-table", metavar="PATH", help="file of measured times to take and add to, for --budget latency"
    )
    parser.add_argument(
        "--input",
        type=input_shape,
        action="append",
        default=[],
        metavar="BLOB=SHAPE",
        help="shape of an input whose data is not here, e.g. data=1,3,227,227, to count costs; may be repeated",
    )


def _add_ranks(parser: argparse.ArgumentParser) -> None:
    ranks = parser.add_mutually_exclusive_group(required=True)
    ranks.add_argument(
        "--keep",
        type=real_number(),
        metavar="F",
        help="share of each layer's energy to keep, e.g. 0.95: the smallest rank at which its method's chain has it "
        "(of tucker each of the two modes)",
    )
    ranks.add_argument(
        "--rankratio",
        type=real_number(),
        metavar="F",
        help="the fork's rule: share of energy for pca, of the norm for svd",
    )
    ranks.add_argument("--ranks", type=comma_list, metavar="R", help="in the order of the layers, or NAME=RANK,...")
    ranks.add_argument("--rank-config", metavar="JSON", help='file of {"layer": rank}; for tucker [inputs, outputs]')
    ranks.add_argument("--evbmf", action="store_true", help="ranks for tucker by empirical variational Bayes")
    ranks.add_argument(
        "--budget",
        metavar="UNIT=F",
        help="keep most energy at share F of the net's multiply-adds, parameters or latency",
    )


def run(arguments: argparse.Namespace) -> int:
    set_threads(arguments.threads)
    net = one_of(arguments.net, arguments.prototxt, "net", "--prototxt")
    weights = one_of(arguments.weights, arguments.caffemodel, "weights", "--caffemodel")
    paths = output_paths(net, weights, arguments.out)
    read = [net, weights, arguments.solver, arguments.rank_config, arguments.data_net, arguments.latency_table]
    check_targets([*paths.values(), arguments.certificate], read, arguments.force_overwrite)
    with glog_lines():
        model = cc.read_model(net, weights)
        cc.refuse_missing(model, arguments.allow_missing)
        cc.refuse_unknown_inputs([model], dict(arguments.input))
        base = cc.read_solver(arguments.solver) if arguments.solver else None
        start = cc.split_groups(model) if arguments.split_groups else model
        with naming_the_exception(start, arguments):
            ranks, methods = choose_ranks(start, arguments)
            if not ranks:
                tell_nothing(net, arguments)
            chains = fitting.decompose(start, ranks, methods, net, arguments)
        small = for_road(chains, arguments.road, "caffe", dict(arguments.input), Path(net).parent)
        given, paths["weights"] = paths["weights"], holding(paths["weights"], small, bool(arguments.road))
        if given != paths["weights"]:
            check_targets([paths["weights"]], read, arguments.force_overwrite)
        if not cc.can_train(small.net):
            del paths["solver"]
        with cc.all_or_none() as held:
            cc.write_model(small, paths["net"], paths["weights"])
            if "solver" in paths:
                cc.write_fine_tune_solver(paths["solver"], str(paths["net"]), str(paths["weights"]), base)
            if arguments.certificate:
                files = {place: temporary for temporary, place in held}
                written = chains if arguments.road else cc.read_model(files[paths["net"]], files[paths["weights"]])
                certificate_of(start, written, arguments, Path(net).parent).write(arguments.certificate)
        costs = counted(start, small, dict(arguments.input))
        if not arguments.json:
            report(start, ranks, costs)
    if arguments.json:
        print_json({"ranks": ranks, "costs": costs and costs_of(costs), "saved": paths})
    else:
        print("\n".join(f"Saved as {path}" for path in paths.values()))
        if "solver" in paths and base is None:
            print(foreign_solver(paths["solver"], net))
    return 0


def foreign_solver(path: Path, net: str) -> str:
    """The line on a solver whose values are AlexNet's, not those of what trained the net."""
    iterations = cc.read_solver(path).max_iter
    return (
        f"{path} fine-tunes as for AlexNet, {iterations:,} iterations; "
        f"--solver SOLVER, what trained {net}, gives its values and a third of its iterations"
    )


def certificate_of(start: cc.Model, written: cc.Model, arguments: argparse.Namespace, folder: Path) -> cc.Certificate:
    """How far the model that was written is from that which it came from; what had no weights has the same in both."""
    shapes = dict(arguments.input)
    whole = with_fillers(start, arguments.allow_missing, input_shapes=shapes, folder=folder)
    same = {name: whole.weights[name] for name in arguments.allow_missing if name in whole.weights}
    return certify(whole, cc.Model(written.net, {**same, **written.weights}), shapes, None, folder)


def holding(path: Path, model: cc.Model, is_for_runtime: bool = False) -> Path:
    """`path`, or a .caffemodel in place of a .caffemodel.h5, which other runtimes do not read.

    Nor can it hold two layers of one name.
    """
    names = [layer.name for layer in model.net.layer]
    clash = any(names.count(name) > 1 for name in model.weights)
    return path.with_suffix("") if (clash or is_for_runtime) and path.suffix == ".h5" else path


def output_paths(net: str, weights: str, prefix: str | None) -> dict[str, Path]:
    """Where the net, its weights and the solver go: the fork's suffixes, or those of `prefix`."""
    if prefix:
        return {what: Path(f"{prefix}.{suffix}") for what, suffix in SUFFIXES.items()}
    return {
        "net": Path(f"{net}.lowrank.prototxt"),
        "weights": Path(f"{weights}.lowrank.caffemodel.h5"),
        "solver": Path(f"{net}.lowrank.solver.prototxt"),
    }


SUFFIXES = {"net": "prototxt", "weights": "caffemodel", "solver": "solver.prototxt"}


def rank_line(layer: Any, rank: Any) -> str:
    """The fork's line: the rank that the groups' equal shares add up to, of how many."""
    if layer.type == "InnerProduct":
        return f"{layer.name}\t{rank}/{layer.inner_product_param.num_output} neurons"
    group = layer.convolution_param.group
    used = [each // group * group for each in (rank if isinstance(rank, tuple | list) else [rank])]
    return f"{layer.name}\t{', '.join(map(str, used))}/{layer.convolution_param.num_output} filters"


def counted(before: cc.Model, after: cc.Model, shapes: dict[str, tuple[int, ...]]) -> cc.Comparison | None:
    """What both nets cost, where the shapes of the inputs are known, or the weights fit one alone."""
    try:
        return cc.compare_cost(before, after, known_shapes(before, shapes) or None)
    except (cc.DataError, cc.UnsupportedLayerError) as error:
        advice = f"; or tell the shapes: {input_options(before)}" if isinstance(error, cc.DataError) else ""
        print(f"costs are not counted: {reason_of(error)}{advice}", file=sys.stderr)
        return None


def report(before: cc.Model, ranks: Mapping[str, Any], costs: cc.Comparison | None) -> None:
    """The fork's line for every layer, and the costs."""
    for layer in before.net.layer:
        if layer.name in ranks and layer.type in ("Convolution", "InnerProduct"):
            print(rank_line(layer, ranks[layer.name]))
    if costs is not None:
        print(costs)
