"""The campaign's command line.

python -m reproductions.gpu pack --data CIFAR10 --out DIR      # where CIFAR-10 is: files under 60 MB
python -m reproductions.gpu unpack DIR/*.xz --work WORK        # on the GPU's machine, one at a time if need be
python -m reproductions.gpu run --work WORK --archive OUT.tar.xz --minutes 9
python -m reproductions.gpu run --work WORK --go-on-from OUT.tar.xz ...   # on the next machine
python -m reproductions.gpu status --work WORK
python -m reproductions.gpu --rehearse                         # all of it, small, on a CPU
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

import caffe_compat as cc
from caffe_compat.commands.numbers import real_number
from reproductions.gpu import images, parts
from reproductions.gpu.campaign import Campaign, archive, merge, train, unarchive
from reproductions.steps import Network, StepError

MINUTES = 9.0
INTERRUPTED = 130  # exit status
SPARE = 30.0  # seconds of these for what ends a call: snapshots, rows, the archive


def main(words: Sequence[str] | None = None) -> int:
    """Do what `words` (default: the command line) ask; 0, 1 where something is left, 2 with a line on stderr.

    130 after SIGINT or SIGTERM: what was trained has its snapshots, and the archive is written.
    """
    arguments = parser().parse_args(words)
    try:
        if arguments.rehearse:
            with tempfile.TemporaryDirectory() as folder:
                return rehearse(Path(folder))
        if arguments.action is None:
            raise StepError("say what to do: pack, unpack, run, status, or --rehearse")
        return ACTIONS[arguments.action](arguments)
    except (cc.CaffeCompatError, OSError) as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gpu: stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED


def pack(arguments: argparse.Namespace) -> int:
    for path in images.pack(arguments.data, arguments.out, arguments.pieces):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def unpack(arguments: argparse.Namespace) -> int:
    for piece in arguments.piece:
        there = images.unpack(piece, arguments.work / "cifar10")
        print(f"{piece}: unpacked, {there} of {images.numbers_of(piece)[1]}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    campaign = Campaign(arguments.work, torch.device(arguments.device))
    if campaign.device.type == "cuda" and not torch.cuda.is_available():
        raise StepError("torch finds no CUDA device here; --rehearse tries everything on a CPU")
    if arguments.go_on_from is not None:
        unarchive(campaign, arguments.go_on_from)
    chosen, seconds = arguments.part or list(parts.PARTS), max(60 * arguments.minutes - SPARE, 0.0)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if arguments.only:
            done = train(network_of(arguments.part), arguments.only, campaign, seconds)
        else:
            done = parts.run(campaign, chosen, seconds)
    finally:
        signal.signal(signal.SIGTERM, before)
        if arguments.archive is not None:
            print(f"{arguments.archive}: {archive(campaign, arguments.archive) / 1e6:.2f} MB")
    return 0 if done else 1


def network_of(chosen: Sequence[str]) -> Network:
    """The network of the one part that --only goes with; StepError for others."""
    if len(chosen) != 1 or chosen[0] not in parts.TRAINING:
        raise StepError(f"--only STEP goes with one part that trains: {', '.join(parts.TRAINING)}")
    return parts.TRAINING[chosen[0]][0]


def merge_results(arguments: argparse.Namespace) -> int:
    campaign = Campaign(arguments.work, torch.device("cpu"))
    if arguments.go_on_from is not None:
        unarchive(campaign, arguments.go_on_from)
    print(f"{merge(campaign)} finished rows are among those of reproductions/results")
    return 0


def status(arguments: argparse.Namespace) -> int:
    campaign = Campaign(arguments.work, torch.device("cpu"))
    for name, (_, what) in parts.PARTS.items():
        print(f"{name:<12} {'finished' if parts.is_done(campaign, name) else 'to do':<10} {what}")
        if name not in parts.TRAINING:
            continue
        network, steps = parts.TRAINING[name]
        runner = campaign.runner(network)
        for step in steps:
            print(f"  {step:<26} {runner.state(runner.network.step(step))}")
    return 0


def rehearse(folder: Path) -> int:
    """Every part in a few iterations on made-up images on the CPU, the archive, and going on from it."""
    campaign = Campaign(folder / "first", torch.device("cpu"), rehearse=True)
    done = parts.run(campaign, list(parts.PARTS), 120.0)
    size = archive(campaign, folder / "results.tar.xz")
    print(f"archive: {size / 1e6:.2f} MB")
    second = Campaign(folder / "second", torch.device("cpu"), rehearse=True)
    unarchive(second, folder / "results.tar.xz")
    left = [name for name in parts.PARTS if not parts.is_done(second, name)]
    print(f"from the archive: {'nothing' if not left else ', '.join(left)} left to do")
    return 0 if done and not left else 1


ACTIONS = {"pack": pack, "unpack": unpack, "run": run, "status": status, "merge": merge_results}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m reproductions.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rehearse", action="store_true", help="all parts, small, on a CPU, in two minutes")
    actions = made.add_subparsers(dest="action", metavar="ACTION")
    packing = actions.add_parser("pack", help="CIFAR-10 as published -> files to carry")
    packing.add_argument("--data", type=Path, required=True, metavar="DIR", help="the six .bin files")
    packing.add_argument("--out", type=Path, required=True, metavar="DIR")
    packing.add_argument("--pieces", type=int, choices=range(1, 61), default=2, metavar="N", help="how many files")
    unpacking = actions.add_parser("unpack", help="these files -> the images that `run` reads")
    unpacking.add_argument("piece", type=Path, nargs="+", metavar="FILE")
    running = actions.add_parser("run", help="the parts in order, or those named")
    running.add_argument("part", nargs="*", choices=(*parts.PARTS, []), default=[], metavar="PART")
    running.add_argument(
        "--minutes",
        type=real_number(0.0),
        default=MINUTES,
        metavar="N",
        help=f"end within so many, default {MINUTES:g}",
    )
    running.add_argument("--device", default="cuda", help="default cuda")
    running.add_argument("--archive", type=Path, metavar="FILE", help="pack results and snapshots into this .tar.xz")
    running.add_argument("--only", nargs="+", default=[], metavar="STEP", help="these steps of the one part named")
    stating = actions.add_parser("status", help="what is finished")
    merging = actions.add_parser("merge", help="finished rows and logs -> those of the project")
    for each in (running, merging):
        each.add_argument("--go-on-from", type=Path, metavar="FILE", help="unpack such a file first")
    for each in (unpacking, running, stating, merging):
        each.add_argument("--work", type=Path, required=True, metavar="DIR", help="the campaign's folder")
    return made


if __name__ == "__main__":
    sys.exit(main())
