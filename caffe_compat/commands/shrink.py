"""Shrink a net whole: train with force, decompose, fine-tune; one table of accuracy, costs and time at the end.

caffe-compat shrink SOLVER --weights W --force l1 --keep 0.95 --out shrunk
caffe-compat shrink SOLVER --weights W --force none --ranks 13,27,45 --fine-tune-iter 5000

The folder of --out keeps every step: the net, forced.caffemodel, decomposed.prototxt, decomposed.caffemodel,
finetuned.caffemodel, and what is deployed: deploy.prototxt, deploy.caffemodel and, with onnx installed, deploy.onnx.
The same command finds the steps that are finished and goes on from the last snapshot of one that is not. Ctrl-C takes
a snapshot and stops.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.costs import add_json, print_json
from caffe_compat.commands.numbers import real_number, whole, whole_number
from caffe_compat.commands.options import (
    METHODS,
    add_compat,
    add_device,
    add_weights,
    comma_list,
    gpu_device,
    one_of,
    set_threads,
)
from caffe_compat.commands.signals import listening
from caffe_compat.commands.terminal import glog_lines, progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("solver_file", nargs="?", metavar="SOLVER", help="the solver's prototxt")
    parser.add_argument("--solver", metavar="SOLVER", help="the same, by Caffe's name")
    add_weights(parser)
    parser.add_argument(
        "--force",
        choices=("l1", "l2", "linear", "gravity", "none"),
        help="instead of SOLVER's; none decomposes W at once",
    )
    parser.add_argument("--force-decay", type=real_number(), metavar="X", help="strength of the force")
    parser.add_argument("--force-layers", type=comma_list, metavar="A,B", help="layers to force")
    parser.add_argument(
        "--max-iter", type=whole_number(), metavar="N", help="iterations with force (default: SOLVER's)"
    )
    parser.add_argument(
        "--keep", type=real_number(), default=0.95, metavar="F", help="share of energy to keep (default 0.95)"
    )
    parser.add_argument(
        "--ranks", type=comma_list, metavar="R", help="instead: ranks in the order of the layers, or NAME=RANK,..."
    )
    parser.add_argument("--method", choices=METHODS, default="pca", help="default pca")
    parser.add_argument("--except-layers", type=comma_list, default=(), metavar="A,B", help="layers to leave alone")
    parser.add_argument("--enable-fc", action="store_true", help="decompose InnerProducts too")
    parser.add_argument(
        "--fine-tune-iter", type=whole_number(), metavar="N", help="0 for none (default: a third of SOLVER's max_iter)"
    )
    parser.add_argument("--out", default="shrunk", metavar="FOLDER", help="where every step goes (default shrunk)")
    add_json(parser)
    add_device(parser)
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    path = one_of(arguments.solver_file, arguments.solver, "solver", "--solver")
    set_threads(arguments.threads)
    with glog_lines():
        made = cc.shrink(
            path,
            arguments.weights or None,
            arguments.out,
            arguments.force,
            arguments.force_decay,
            arguments.force_layers,
            arguments.keep,
            parse_ranks(arguments.ranks),
            arguments.method,
            arguments.enable_fc,
            arguments.except_layers,
            arguments.max_iter,
            arguments.fine_tune_iter,
            gpu_device(arguments.gpu) or arguments.device or "auto",
            arguments.compat,
            watched,
        )
    if arguments.json:
        print_json(asdict(made))
        return 0
    print(made)
    if made.deployed:
        print(f"To deploy: {', '.join(map(str, made.deployed))}")
    print(f"Saved as {made.net} and {made.weights}")
    return 0


@contextmanager
def watched(solver: cc.Solver) -> Iterator[None]:
    """Within this block a solver obeys signals and shows its progress."""
    with listening(solver, "stop", "snapshot"), progress(solver):
        yield


def parse_ranks(words: tuple[str, ...] | None) -> Any:
    """`conv1=13,conv2=27` as {layer: rank}, `13,27` as a list of them, nothing as None."""
    if not words:
        return None
    try:
        if "=" in words[0]:
            return {name: whole(rank) for name, _, rank in (word.partition("=") for word in words)}
        return [whole(word) for word in words]
    except ValueError:
        raise cc.RankError(f"--ranks {','.join(words)}: whole numbers are wanted, or NAME=RANK,...") from None
