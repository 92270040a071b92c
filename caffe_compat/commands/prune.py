"""Train a decomposed net whose ranks shrink on the way, as the fork's lowrank_netsolver.py; or take filters away.

caffe-compat prune SOLVER --weights W --keep 0.99 --method pca
caffe-compat prune NET WEIGHTS --criterion l2 --remove 0.5

Every test_interval each X_lowrank layer is looked at; where fewer ranks keep enough of it, training goes on with the
smaller net. A net without such layers is decomposed at full rank first. PREFIX.ranks has the ranks, a line a test, and
where matplotlib is installed PREFIX.ranks.png shows them.

With a net and its weights no training is done: filters go by a criterion, or those that a run with masks left at 0, and
with them all that is coupled. A certificate says what is left and how far the outputs are from those of the masked net.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.costs import print_json
from caffe_compat.commands.numbers import real_number, whole_number
from caffe_compat.commands.options import (
    add_allow_missing,
    add_compat,
    add_device,
    add_weights,
    gpu_device,
    one_of,
    set_threads,
)
from caffe_compat.commands.plots import draw
from caffe_compat.commands.prune_filters import add_filter_arguments, run_filters
from caffe_compat.commands.shrink import watched
from caffe_compat.commands.terminal import glog_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("solver_file", nargs="?", metavar="SOLVER|NET", help="the solver's prototxt, or the net's")
    parser.add_argument("net_weights", nargs="?", metavar="WEIGHTS", help="the net's weights")
    parser.add_argument("--solver", metavar="SOLVER", help="the same, by Caffe's name")
    add_weights(parser)
    parser.add_argument(
        "--keep",
        "--ratio",
        type=real_number(),
        default=0.99,
        metavar="F",
        help="share of each layer to keep (default 0.99)",
    )
    parser.add_argument(
        "--method", "--lra-type", choices=("pca", "svd"), default="pca", help="share of energy (pca), of the norm (svd)"
    )
    parser.add_argument(
        "--pruning-iter",
        type=whole_number(-1),
        default=-1,
        metavar="N",
        help="ranks shrink up to iteration N (default: always)",
    )
    parser.add_argument("--max-iter", type=whole_number(), metavar="N", help="stop after N iterations in all")
    add_allow_missing(parser)
    add_device(parser)
    add_compat(parser)
    add_filter_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.net_weights:
        return run_filters(arguments, arguments.solver_file, arguments.net_weights)
    if arguments.criterion or arguments.remove is not None:
        raise cc.SolverError("--criterion and --remove take two files without options before them: prune NET WEIGHTS")
    path = one_of(arguments.solver_file, arguments.solver, "solver", "--solver")
    set_threads(arguments.threads)
    with glog_lines():
        made = cc.prune_ranks(
            path,
            arguments.weights or None,
            arguments.keep,
            arguments.method,
            arguments.pruning_iter,
            arguments.max_iter,
            gpu_device(arguments.gpu) or arguments.device or "auto",
            arguments.compat,
            watched,
            arguments.allow_missing,
        )
    saved = [made.net, made.weights]
    if importlib.util.find_spec("matplotlib"):
        saved.append(_draw(made))
    if arguments.json:
        ranks = dict(zip(made.layers, made.ranks.T, strict=True))
        print_json({"iterations": made.iterations, "ranks": ranks, "saved": saved})
        return 0
    for layer, first, last in zip(made.layers, made.ranks[0], made.ranks[-1], strict=True):
        print(f"{layer}\t{first} -> {last}")
    print(f"Saved as {made.net} and {made.weights}")
    for picture in saved[2:]:
        print(f"Ranks drawn in {picture}")
    return 0


def _draw(made: cc.Pruned) -> Path:
    """The picture of the ranks over the iterations, beside their record."""
    curves = [
        (layer, list(made.iterations), [float(rank) for rank in ranks])
        for layer, ranks in zip(made.layers, made.ranks.T, strict=True)
    ]
    return draw([("rank", curves)], made.record.with_name(f"{made.record.name}.png"))
