"""A run killed before each step that it takes on the file system, then held against what snapshots promise.

After each kill: a state that shows has the weights and the side-car it was written with; the best set that was there is
there, once a run has started again; the run that resumes ends at the files of one that nothing disturbed, and leaves
nothing of the dead one behind.

Cases: fresh (an empty folder), again (over the snapshots of a run with another seed), best (--keep-best), bestagain
(both), last (--keep-last 1); bin or h5, the format; 1 or 2, the ranks.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from caffe_compat.errors import CaffeCompatError
from caffe_compat.proto.model import read_weights
from caffe_compat.solver import sidecar
from caffe_compat.solver.state import read_state
from tests.faults.children import chosen, finish, make_folder, solver_text, start

WATCHED = {"open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "tempfile.mkstemp", "os.rmdir", "os.truncate"}
STATE_COMES = re.compile(r"os\.rename \.[^.].*\.solverstate(\.h5)?\.X\.part")
CASES = [f"{kind}_{form}_{ranks}" for ranks in (1, 2) for kind in ("fresh", "again", "best", "bestagain", "last")
         for form in ("bin", "h5")]  # fmt: skip
WORDS = {"best": ["--keep-best", "loss"], "bestagain": ["--keep-best", "loss"], "last": ["--keep-last", "1"]}


def killer(folder: Path, limit: int, record: Path | None = None) -> Callable[[], None]:
    """What a child calls to be killed before step `limit` in `folder`.

    record: where the steps go, as JSON, with the fingerprints of the states that show one step after a state came.
    """

    def begin() -> None:
        steps: list[str] = []
        shown: list[tuple[int, int]] = []
        busy = False

        def hook(event: str, facts: tuple[object, ...]) -> None:
            nonlocal busy
            if busy or event not in WATCHED:
                return
            if event == "open" and not (isinstance(facts[2], int) and facts[2] & (os.O_WRONLY | os.O_RDWR)):
                return
            if not isinstance(facts[0], (str, os.PathLike)):
                return
            where = os.path.join(os.getcwd(), os.fspath(facts[0]))
            if not where.startswith(f"{folder}{os.sep}"):
                return
            came = bool(steps) and STATE_COMES.fullmatch(steps[-1]) is not None
            steps.append(f"{event} {_form(os.path.basename(where))}")
            if len(steps) == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            if record is not None:
                busy = True
                if came:
                    shown.extend(map(fingerprint, states(folder)))
                record.write_text(json.dumps([steps, shown]))
                busy = False

        sys.addaudithook(hook)

    return begin


def _form(name: str) -> str:
    """A file's name without what differs from one run to the next."""
    return re.sub(r"\.[a-z0-9_]{8}\.part", ".X.part", name)


def states(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if re.fullmatch(r"[^.].*\.solverstate(\.h5)?", file.name))


def fingerprint(state: Path) -> tuple[int, int]:
    """Checksums of the state and of the weights that stand beside it."""
    stored = read_state(state)
    return sidecar.checksum(stored), sidecar.file_checksum(state.parent / Path(stored.learned_net).name)


def faults_of(folder: Path, valid: set[tuple[int, int]]) -> list[str]:
    """What is wrong with the sets of files that show in `folder`."""
    found = []
    for state in states(folder):
        try:
            pair = fingerprint(state)
            own = sidecar.read(state)
        except (CaffeCompatError, OSError) as error:
            found.append(f"{state.name} cannot be read: {error}")
            continue
        if pair not in valid:
            found.append(f"{state.name}: state of one snapshot, weights of another")
        if own is None or (own.checksum, own.checksums["weights"]) != pair:
            found.append(f"{state.name}: no side-car of its own")
    return found


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])


def rank(number: int, port: str, before: Callable[[], None] | None = None) -> Callable[[], None]:
    """What a child calls to be one of two ranks."""

    def begin() -> None:
        place = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2"}
        os.environ.update(place, MASTER_ADDR="localhost", MASTER_PORT=port)
        if before is not None:
            before()

    return begin


class Case:
    """One way to train, in a folder of its own."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home / name
        self.kind, form, ranks = name.split("_")
        self.ranks = int(ranks)
        self.options = {"snapshot_format": "HDF5"} if form == "h5" else {}
        self.words = ["solve", "s.prototxt", "--force", "l1", *WORDS.get(self.kind, ())]
        self.over = self.kind.endswith("again")
        self.first = make_folder(self.home / "first", **self.options)
        assert self.train(self.first) == 0, (self.first / "log").read_text()[-2000:]
        self.full = self.home / "full"
        shutil.rmtree(self.full, ignore_errors=True)
        self.prepare(self.full)
        record = self.home / "steps"
        assert self.train(self.full, before=killer(self.full, 0, record)) == 0
        self.steps, shown = json.loads(record.read_text())
        self.valid = {(state, weights) for state, weights in shown}
        self.valid |= {fingerprint(state) for folder in (self.first, self.full) for state in states(folder)}
        self.end = end_of(self.full)

    def prepare(self, folder: Path) -> None:
        """The folder as it is before the run that is killed."""
        shutil.rmtree(folder, ignore_errors=True)
        if self.over:
            shutil.copytree(self.first, folder)
        else:
            make_folder(folder, **self.options)
        (folder / "s.prototxt").write_text(solver_text(**self.options, random_seed=7))

    def train(
        self, folder: Path, *words: str, before: Callable[[], None] | None = None, log: str = "log"
    ) -> int | None:
        """The run in `folder`; the status of its root. before: what the root calls first."""
        words = (*self.words, *words)
        if self.ranks == 1:
            return finish(start(words, folder, log, before))
        port = free_port()
        first = start(words, folder, log, rank(0, port, before))
        children = [first, start(words, folder, log, rank(1, port))]
        statuses = [finish(child) for child in children]
        return statuses[0]

    def crash(self, step: int) -> list[str]:
        """The faults that a kill before `step` brings about."""
        work = self.home / "work"
        self.prepare(work)
        best = bool(list(work.glob("t_best_*.solverstate*")))
        status = self.train(work, before=killer(work, step))
        if status != -signal.SIGKILL:
            return [f"no kill before step {step}: status {status}"]
        alone = self.ranks == 1
        faults = faults_of(work, self.valid) if alone else []
        if self.over:
            return faults + self.after_recovery(work, best)
        status = self.train(work, "--snapshot", "auto", log="log2")
        if status != 0:
            return [*faults, f"the run that resumes ends with status {status}: {(work / 'log2').read_text()[-300:]}"]
        if end_of(work) != self.end:
            faults.append("the end is not that of the undisturbed run")
        faults += faults_of(work, self.valid) if alone else []
        if self.kind == "best" and not list(work.glob("t_best_*.solverstate*")):
            faults.append("no best set at the end")
        return faults + left_over(work)

    def after_recovery(self, work: Path, best: bool) -> list[str]:
        """The faults that show once another run has started, and trained nothing."""
        words = ("--snapshot", "auto", "--max-iter", "0")
        status = self.train(work, *words, log="log2")
        faults = [] if status == 0 else [f"the next start: {status}: {(work / 'log2').read_text()[-300:]}"]
        faults += faults_of(work, self.valid) if self.ranks == 1 else []
        if best and not list(work.glob("t_best_*.solverstate*")):
            faults.append("the best set is gone")
        return faults + left_over(work)


def end_of(folder: Path, last: int = 12) -> object:
    """The last state and its weights, as far as a run decides over them: HDF5's bytes hold more."""
    numbered = [file for file in states(folder) if file.name.startswith(f"t_iter_{last}.")]
    if not numbered:
        return None
    weights = read_weights(folder / Path(read_state(numbered[0]).learned_net).name)
    values = {name: [blob.tobytes() for blob in blobs] for name, blobs in weights.items()}
    own = sidecar.read(numbered[0])
    return sidecar.checksum(read_state(numbered[0])), values, own and (own.cursor, own.random, own.losses)


def left_over(folder: Path) -> list[str]:
    names = [_form(file.name) for file in folder.iterdir() if file.name.endswith((".part", ".lock", ".commit"))]
    return [f"left behind: {name}" for name in names]


def campaign(seed: int, count: int, home: Path, names: list[str] | None = None) -> Counter[str]:
    """Kill `count` runs of each case; what went wrong, counted. Prints a line a case."""
    faults: Counter[str] = Counter()
    for name in names or CASES:
        case = Case(name, home)
        points = chosen(seed, count, len(case.steps))
        found: Counter[str] = Counter()
        for step in points:
            for fault in case.crash(step):
                found[f"{name}: before '{case.steps[step - 1]}': {fault}"] += 1
        print(
            f"crash_points {name}: {len(case.steps)} steps, {len(points)} kills, {sum(found.values())} faults",
            flush=True,
        )
        for fault, times in found.most_common(20):
            print(f"   x{times} {fault}", flush=True)
        faults += found
    return faults


if __name__ == "__main__":
    sys.exit(bool(campaign(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve(), sys.argv[4:])))
