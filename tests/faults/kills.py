"""kill -9 at any moment of a run that is then resumed, again and again: it ends as one that nothing disturbed.

A run dies after a random time, or within milliseconds of a temporary file, of a file of a snapshot, or of a line of its
JSON log. Held against an undisturbed run are all its files and its curves, and so is a second run into the same prefix.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from caffe_compat.commands.runs import read_run
from caffe_compat.errors import CaffeCompatError
from caffe_compat.solver import sidecar
from tests.faults.children import finish, has_traceback, make_folder, run, start
from tests.faults.crash_points import fingerprint, left_over, states

LONG = {"max_iter": 24, "test_interval": 3, "snapshot": 4, "display": 1}
VARIANTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "sgd": ({"type": '"SGD"', "momentum2": None, "is_augmented": True, "average_loss": 7, "lr_policy": '"multistep"',
             "gamma": 0.1, "stepvalue": 10}, ["--force", "l1"]),
    "adam": ({"snapshot_format": "HDF5", "iter_size": 2}, ["--force", "l2"]),
    "adadelta": ({"type": '"AdaDelta"', "momentum": 0.95, "momentum2": None, "delta": 1e-6, "base_lr": 1.0,
                  "snapshot_format": "HDF5", "is_augmented": True},
                 ["--force", "l1", "--keep-best", "loss", "--keep-last", "2"]),
    "rmsprop": ({"type": '"RMSProp"', "momentum": None, "momentum2": None, "rms_decay": 0.98, "snapshot": 3},
                ["--force", "gravity", "--force-decay", "1e-4", "--keep-last", "3"]),
}  # fmt: skip
MOMENTS = ("time", "start", "temporary", "file", "line")
LONGEST = 60.0  # seconds to wait for a moment, or for a run to end


def of_time(work: Path, limit: float) -> Callable[[], bool]:
    end = time.monotonic() + limit
    return lambda: time.monotonic() >= end


def of_file(work: Path, form: str, count: int) -> Callable[[], bool]:
    """True once `count` files have appeared whose names are of that form."""
    before = set(os.listdir(work))
    new: set[str] = set()

    def came() -> bool:
        new.update(name for name in os.listdir(work) if name not in before and re.fullmatch(form, name))
        return len(new) >= count

    return came


def of_line(work: Path, count: int) -> Callable[[], bool]:
    log = work / "t.jsonl"

    def size() -> int:
        return log.stat().st_size if log.exists() else 0

    first = size()
    return lambda: size() > first + 100 * count


def moment(randoms: random.Random, work: Path, seconds: float) -> Callable[[], bool]:
    """What tells that the run in `work`, which takes that long, is to be killed."""
    kind, count = randoms.choice(MOMENTS), randoms.randint(1, 7)
    if kind in ("time", "start"):
        return of_time(work, randoms.random() * (seconds if kind == "time" else 0.2))
    if kind == "line":
        return of_line(work, count)
    return of_file(work, r".*\.part" if kind == "temporary" else r"t_.*(caffemodel|solverstate|json)(\.h5)?", count)


def kill_at(due: Callable[[], bool], child: int, delay: float) -> None:
    """Kill a child once it is due, or let it end before."""
    end = time.monotonic() + LONGEST
    while not due() and time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.0005)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)  # one that has ended is still to be waited for


def torn(work: Path) -> Iterator[str]:
    """What is wrong with the sets that show: each has the side-car and the weights that it was written with."""
    for state in states(work):
        try:
            pair, own = fingerprint(state), sidecar.read(state)
        except (CaffeCompatError, OSError) as error:
            yield f"{state.name} cannot be read: {error}"
            continue
        if own is None or (own.checksum, own.checksums["weights"]) != pair:
            yield f"{state.name}: no side-car and weights of its own"


def contents(folder: Path) -> dict[str, object]:
    """Name -> what a file says, of those that a run leaves; HDF5 and checksums of it as values."""
    return {file.name: _content(file) for file in folder.iterdir() if file.is_file() and file.name.startswith("t_")}


def _content(file: Path) -> object:
    if file.suffix == ".h5":
        found: dict[str, bytes] = {}

        def add(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = np.asarray(item).tobytes()

        with h5py.File(file) as opened:
            opened.visititems(add)
        return found
    if file.suffix == ".json":
        return {name: value for name, value in json.loads(file.read_bytes()).items() if name != "checksums"}
    return file.read_bytes()


def differences(work: Path, full: Path) -> Iterator[str]:
    mine, wanted = contents(work), contents(full)
    yield from (f"{name} should not be there" for name in mine.keys() - wanted.keys())
    yield from (f"{name} is missing" for name in wanted.keys() - mine.keys())
    yield from (f"{name} differs" for name in mine.keys() & wanted.keys() if mine[name] != wanted[name])
    if read_run(str(work / "t")).curves.sections != read_run(str(full / "t")).curves.sections:
        yield "the curves differ"
    yield from left_over(work)


class Chain:
    """A way to train, and what it leaves where nothing disturbs it."""

    def __init__(self, name: str, home: Path) -> None:
        changes, words = VARIANTS[name]
        self.changes, self.words = {**LONG, **changes}, ["solve", "s.prototxt", *words]
        self.full, self.work = make_folder(home / f"full_{name}", **self.changes), home / "work"
        begun = time.monotonic()
        assert run(self.words, self.full) == 0, (self.full / "log").read_text()[-2000:]
        self.seconds = time.monotonic() - begun

    def faults(self, randoms: random.Random, kills: int) -> Iterator[str]:
        """What is wrong with a run that is killed `kills` times: after each, at its end, and after a second run."""
        work = make_folder(self.work, **self.changes)
        for _ in range(kills):
            due = moment(randoms, work, self.seconds)
            child = start([*self.words, "--snapshot", "auto"], work)
            kill_at(due, child, randoms.random() * 0.012)
            if finish(child, LONGEST) not in (0, -signal.SIGKILL):
                yield f"a run ends in an error: {(work / 'log').read_text()[-300:]}"
            yield from torn(work)
            if (work / "t.jsonl").exists() and run(["log", "t"], work, "log_of_log") not in (0, 2):
                yield "`log` fails"
        for again in (["--snapshot", "auto"], []):
            if (status := run([*self.words, *again], work)) != 0:
                yield f"the {'last' if again else 'second'} run ends with {status}"
            yield from differences(work, self.full)
        if has_traceback(work / "log") or has_traceback(work / "log_of_log"):
            yield "a traceback"


def campaign(seed: int, count: int, home: Path, names: list[str] | None = None) -> Counter[str]:
    """`count` kills, a few in each chain, the variants in turn. Prints a line a variant, and one a fault."""
    faults, kills, randoms = Counter[str](), Counter[str](), random.Random(seed)
    chains = {name: Chain(name, home) for name in names or VARIANTS}
    for name in itertools.cycle(chains):
        if not (now := min(count - kills.total(), randoms.randint(3, 8))):
            break
        kills[name] += now
        faults.update(f"{name}: {fault}" for fault in chains[name].faults(randoms, now))
    for name in kills:
        found = sum(times for fault, times in faults.items() if fault.startswith(f"{name}: "))
        print(f"kills {name}: {kills[name]} kills, {found} faults", flush=True)
    for fault, times in faults.most_common(20):
        print(f"   x{times} {fault}", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(bool(campaign(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve(), sys.argv[4:])))
