"""The command line that every network's run.py has."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import caffe_compat as cc
from reproductions.checkpoints import keep_checkpoint
from reproductions.measures import record
from reproductions.runner import Runner
from reproductions.runs import RESULTS
from reproductions.steps import Network, Place

BROKEN_PIPE = 141  # exit status, as a shell reports the signal


def main(network: Network, words: Sequence[str] | None = None) -> int:
    """Do what `words` (default: the command line) ask; 0, or 2 with one line on stderr."""
    arguments = parser(network).parse_args(words)
    try:
        if arguments.smoke and arguments.work is None:
            with tempfile.TemporaryDirectory() as folder:
                run(network, arguments, Path(folder))
        else:
            run(network, arguments, arguments.work or network.folder / "run")
        sys.stdout.flush()
    except BrokenPipeError:  # `--list | head`: whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (cc.CaffeCompatError, OSError) as error:
        print(f"{network.name}: {error}", file=sys.stderr)
        return 2
    return 0


def run(network: Network, arguments: argparse.Namespace, work: Path) -> None:
    """List, record, or do the steps that were asked for."""
    facts = (arguments.data, arguments.models, arguments.device, arguments.threads, arguments.smoke)
    runner = Runner(network, Place(work, *facts))
    steps = [network.step(name) for name in arguments.only] or list(network.steps)
    if arguments.first is not None:
        steps = steps[: arguments.first]
    if arguments.list:
        for step in steps:
            print(f"{step.name:<28} {runner.state(step):<12} {step.experiment}: {step.method}. {step.note}".rstrip())
        return
    if arguments.checkpoint:
        for step in steps:
            print(f"{step.name}: kept in {keep_checkpoint(runner, step)}")
        record(runner, steps)
        return
    if not arguments.record:
        for step in steps:
            print(f"{step.name}: {runner.state(step)}", flush=True)
            runner.do(step)
    if arguments.record and not arguments.smoke:
        record(runner, steps)
    elif arguments.smoke or not (arguments.only or arguments.first):
        record(runner, steps, work)
        print((work / RESULTS.name / f"{network.name}.csv").read_text(encoding="utf-8"))


def count(word: str) -> int:
    """A whole number from 1 on."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is no number of steps; wanted 1 or more")
    return int(word)


def parser(network: Network) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=f"python -m {network.program}",
        description="Do the steps in order; finished ones are kept, an interrupted one goes on from its last snapshot. "
        "All steps done, their rows are printed, and stand in the folder of the steps.",
    )
    made.add_argument("--data", "--imagenet", type=Path, metavar="DIR", help="the data set as published")
    made.add_argument("--models", type=Path, metavar="DIR", help="public trained models, one folder a model")
    made.add_argument("--work", type=Path, metavar="DIR", help=f"the steps' folders, default {network.name}/run")
    made.add_argument("--only", nargs="+", default=[], metavar="STEP", help="these steps, and those that they need")
    made.add_argument("--first", type=count, metavar="N", help="only the first N of these steps, as --list shows them")
    made.add_argument("--list", action="store_true", help="print the steps and how far they are, and do nothing")
    made.add_argument(
        "--record",
        action="store_true",
        help=f"train nothing; write reproductions/{RESULTS.name}/{network.name}.csv and the logs",
    )
    made.add_argument(
        "--checkpoint",
        action="store_true",
        help="train nothing; keep the newest snapshot of --only STEP in checkpoints/, and write its row",
    )
    made.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto", help="auto: a GPU if there is one")
    made.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: as torch chooses)")
    made.add_argument("--smoke", action="store_true", help="two iterations of each step on made-up data, in seconds")
    return made
