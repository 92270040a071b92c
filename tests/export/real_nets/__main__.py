"""Export every net of nets.tsv with drawn weights, run the file beside the net, and keep what became of it.

    python -m tests.export.real_nets [--form onnx|pt2] [--only PART] [--out FILE] [--seconds N]
                                       [--shuffle SEED] [--anew]

nets.tsv has the path of each net within the archive of prototxts, and the shapes of data that is not there, or is
larger than needed. Each net has a process of its own. With --out, nets that FILE has already are left out and the
others added, so that an interrupted run goes on; with --anew only those of this commit are left out. With --shuffle the
order is drawn, so that what an interrupted run has measured is a random sample.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import random
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import CaffeCompatError
from tests.conftest import shared
from tests.export.real_nets.measure import Shapes, measure
from tests.export.real_nets.outcomes import Outcome, read, write

NETS = Path(__file__).with_name("nets.tsv")


def nets() -> dict[str, Shapes]:
    """{path of a net: the shapes of its data}."""
    found = {}
    for line in NETS.read_text(encoding="utf-8").splitlines():
        path, _, shapes = line.partition("\t")
        pairs = (each.split("=") for each in shapes.split())
        found[path] = {blob: tuple(map(int, sizes.split(","))) for blob, sizes in pairs}
    return found


def in_child(path: Path, shapes: Shapes, form: str, seconds: float) -> Outcome:
    """`measure` in a process of its own, which is ended after `seconds`."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, path, shapes, form))
    child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return Outcome("refused", False, f"not done after {seconds:g} s")
        outcome: Outcome = receiver.recv()
        return outcome
    except EOFError:
        child.join(10)
        return Outcome("refused", False, f"its process ended with status {child.exitcode}")
    finally:
        child.kill()
        child.join(10)
        receiver.close()


def _child(sender: Any, path: Path, shapes: Shapes, form: str) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    try:
        sender.send(measure(path, shapes, form))
    except CaffeCompatError as error:
        sender.send(Outcome("refused", False, f"{type(error).__name__}: {error}"))
    except Exception as error:  # a fault of ours, which the table shows as what it is
        sender.send(Outcome("refused", False, f"fault, {type(error).__name__}: {error}"))


def tree() -> str:
    """The commit of this checkout, with a + where files differ from it."""
    words = ["git", "-C", str(NETS.parent), "describe", "--always", "--abbrev=7", "--dirty=+", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.export.real_nets", description=__doc__)
    parser.add_argument("--form", choices=("onnx", "pt2"), default="onnx")
    parser.add_argument("--only", default="", metavar="PART", help="nets with this in their path")
    parser.add_argument("--out", type=Path, help="a table to add to")
    parser.add_argument(
        "--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="every Nth of the nets left, from I on"
    )
    parser.add_argument("--seconds", type=float, default=300, help="at most this long for a net")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="in an order drawn from this seed")
    parser.add_argument("--anew", action="store_true", help="also nets that the table has of another commit")
    arguments = parser.parse_args(words)
    here = tree()
    done = read(arguments.out) if arguments.out and arguments.out.exists() else {}
    archive = shared("prototxt", "prototxt.zip")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(archive).extractall(folder)
        kept = {key for key, outcome in done.items() if not arguments.anew or outcome.tree == here}
        left = [net for net in nets().items() if arguments.only in net[0] and (net[0], arguments.form) not in kept]
        if arguments.shuffle is not None:
            random.Random(arguments.shuffle).shuffle(left)
        for path, shapes in left[arguments.part[0] :: arguments.part[1]]:
            outcome = in_child(Path(folder, path), shapes, arguments.form, arguments.seconds)
            outcome = replace(outcome, tree=here, told=" ".join(outcome.told.replace(f"{folder}/", "").split()))
            done[path, arguments.form] = outcome
            print(f"{outcome.state:8} {path}: {outcome.told}", flush=True)
            if arguments.out:
                write(arguments.out, done)
    print(dict(Counter(outcome.state for (_, form), outcome in done.items() if form == arguments.form)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
