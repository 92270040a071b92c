"""Train a net as its solver prototxt says, as `caffe train` does, with or without force.

The log goes to stderr in Caffe's form, and as JSON lines to PREFIX.jsonl beside the snapshots. Ctrl-C takes a snapshot
and stops; a second one stops at once. SIGTERM takes a snapshot and stops with exit status 143. The log's last line
then says how to go on. SIGHUP takes a snapshot and goes on.

Several processes train together when torchrun starts them, each with its own part of the data and its own GPU:
torchrun --nproc-per-node N -m caffe_compat.solve SOLVER
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.going_on import LastSnapshot
from caffe_compat.commands.numbers import real_number, whole_number
from caffe_compat.commands.options import (
    add_compat,
    add_device,
    add_state,
    add_weights,
    comma_list,
    gpu_device,
    one_of,
    set_threads,
)
from caffe_compat.commands.ranks import KEEP, RankReport
from caffe_compat.commands.signals import EFFECTS, heeding
from caffe_compat.commands.terminal import glog_lines, progress

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("solver_file", nargs="?", metavar="SOLVER", help="the solver's prototxt")
    parser.add_argument("--solver", metavar="SOLVER", help="the same, by Caffe's name")
    _add_force(parser)
    add_weights(parser)
    parser.add_argument(
        "--snapshot",
        metavar="STATE",
        help="resume from this .solverstate or .solverstate.h5; latest or auto: from the newest whole snapshot of "
        "SOLVER's prefix, or start where there is none",
    )
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="with --snapshot: force, compat, precision and so on may differ from those of the run that goes on",
    )
    parser.add_argument("--max-iter", type=whole_number(), metavar="N", help="stop after N iterations in all")
    _add_keeping(parser)
    parser.add_argument(
        "--tensorboard", metavar="DIR", help="write losses, tests, ranks and histograms of angles for TensorBoard"
    )
    add_device(parser)
    _add_speed(parser)
    add_compat(parser)
    add_state(parser)
    # so that a resumed run knows what it was given
    parser.set_defaults(compat=None, level=None, stage=None)
    for name, default in (("sigint", "stop"), ("sighup", "snapshot")):
        effect = f"what SIG{name[3:].upper()} does (default {default})"
        parser.add_argument(f"--{name}-effect", choices=EFFECTS, default=default, help=effect)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--force", choices=("l1", "l2", "linear", "gravity", "none"), help="pull filters together, whatever SOLVER says"
    )
    parser.add_argument(
        "--force-decay",
        type=real_number(),
        metavar="X",
        help="strength of the force; negative pushes filters apart (default: SOLVER's, else 1e-3 for l1, 5e-5 for l2)",
    )
    parser.add_argument(
        "--force-layers",
        type=comma_list,
        metavar="A,B",
        help="layers to force (default: as force_mult says, or every Convolution where none is set)",
    )
    parser.add_argument(
        "--force-per-group", action="store_true", help="filters attract only those of their own group of a convolution"
    )


def _add_keeping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-best", metavar="OUTPUT", help="keep a snapshot of the best test of this output, e.g. accuracy"
    )
    parser.add_argument(
        "--patience",
        type=whole_number(),
        metavar="N",
        help="stop after N tests in a row without a better --keep-best output",
    )
    parser.add_argument(
        "--keep-last", type=whole_number(), metavar="N", help="remove all but the last N numbered snapshots"
    )


def _add_speed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=("fp32", "tf32", "bf16", "fp16"), help="to train in; fp32 (default) is exact"
    )
    parser.add_argument("--compile", action="store_true", help="let torch.compile make the net's program")
    parser.add_argument(
        "--link-timeout",
        type=real_number(1),
        default=300.0,
        metavar="S",
        help="with torchrun: seconds after which a cut link ends both sides, with a snapshot (default 300)",
    )
    parser.add_argument("--no-graph", action="store_true", help="on a GPU, launch kernel by kernel, not a CUDA graph")


def run(arguments: argparse.Namespace) -> int:
    path = one_of(arguments.solver_file, arguments.solver, "solver", "--solver")
    if arguments.snapshot and arguments.snapshot not in cc.NEWEST and arguments.weights:
        raise cc.SolverError("--snapshot resumes a run and --weights starts one; give only one of them")
    if arguments.patience is not None and not arguments.keep_best:
        raise cc.SolverError(
            f"--patience {arguments.patience} waits for a better output; name it: --keep-best accuracy"
        )
    with heeding(arguments.sigint_effect, arguments.sighup_effect) as signals:  # before torch is imported
        set_threads(arguments.threads)
        with glog_lines() if cc.is_root() else nullcontext(), cc.process_group(arguments.link_timeout):
            snapshot = find_snapshot(path, arguments.snapshot)
            solver = make_solver(path, arguments, snapshot)
            with told(solver, arguments, snapshot) if cc.is_root() else nullcontext():
                log.info("Starting Optimization")
                signals.reach(solver)
                solver.solve(snapshot, arguments.accept_changes)
        return signals.status


@contextmanager
def told(solver: cc.Solver, arguments: argparse.Namespace, snapshot: cc.Snapshot | None) -> Iterator[None]:
    """Within this block, logs, ranks, the snapshots to keep and the progress bar follow `solver`."""
    journal = cc.JsonLinesLog(f"{solver.config.snapshot_prefix}.jsonl")
    boards = [] if arguments.tensorboard is None else [board(arguments.tensorboard)]
    last = LastSnapshot(snapshot.path if snapshot else None)
    solver.callbacks += [journal, RankReport(journal), *boards, *keepers(arguments), last]
    resume = str(snapshot.path) if snapshot else None
    journal.begin(event="start", command=shlex.join(sys.argv), resume=resume, **circumstances(solver))
    try:
        with progress(solver), last.told_when_stopped(solver):
            yield
    finally:
        journal.close()
        for each in boards:
            each.close()


def board(folder: str) -> cc.TensorBoardLog:
    """The callback of --tensorboard."""
    return cc.TensorBoardLog(folder, partial(cc.rank_by_energy, keep=KEEP))


def find_snapshot(path: str, word: str | None) -> cc.Snapshot | None:
    """The snapshot that --snapshot names; None where the run starts anew."""
    if not word:
        return None
    if word not in cc.NEWEST:
        cc.refuse_exchanged(path, word)
        return cc.open_snapshot(word)
    snapshot = cc.newest_snapshot(cc.read_solver(path).snapshot_prefix)
    if snapshot is None:
        log.info("--snapshot %s: there is no whole snapshot of the prefix yet; starting", word)
    return snapshot


def make_solver(path: str, arguments: argparse.Namespace, snapshot: cc.Snapshot | None) -> cc.Solver:
    """The solver that the arguments describe; when resuming, weights named in the solver file play no part."""
    kind = cc.DistributedSolver if cc.process_count() > 1 else cc.Solver
    options = {
        "force": arguments.force,
        "force_decay": arguments.force_decay,
        "force_layers": arguments.force_layers,
        "force_per_group": arguments.force_per_group,
        "compat": arguments.compat,
        "in_place": getattr(arguments, "in_place", None),
        "level": arguments.level,
        "stages": arguments.stage,
        "precision": arguments.precision,
    }
    if snapshot is not None:
        options = cc.resumed_options(options, snapshot, arguments.accept_changes)
    return kind(
        path,
        weights=() if snapshot else arguments.weights or None,
        device=gpu_device(arguments.gpu) or arguments.device or "auto",
        max_iter=arguments.max_iter,
        compile=arguments.compile,
        graph=not arguments.no_graph,
        **options,
    )


def keepers(arguments: argparse.Namespace) -> Iterator[Any]:
    """The callbacks of --keep-best, --patience and --keep-last."""
    if arguments.keep_best:
        yield cc.KeepBest(arguments.keep_best)
    if arguments.patience is not None:
        yield cc.Patience(arguments.patience, arguments.keep_best)
    if arguments.keep_last is not None:
        yield cc.KeepLast(arguments.keep_last)


def circumstances(solver: cc.Solver) -> dict[str, Any]:
    """What a reader of the log needs to run it again: versions, device, threads, seed."""
    import torch

    return {
        "caffe_compat": cc.__version__,
        "torch": torch.__version__,
        "device": str(solver.device),
        "threads": torch.get_num_threads(),
        "processes": cc.process_count(),
        "random_seed": solver.config.random_seed,
    }
