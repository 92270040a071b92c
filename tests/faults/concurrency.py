"""Several at once: two runs and one prefix, many and one lock, readers beside a writer, `log` beside a run, signals."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import lmdb

from caffe_compat.commands.runs import read_run
from caffe_compat.data.databases import open_database
from caffe_compat.errors import SolverError
from caffe_compat.solver.prefix import reserved
from tests.faults.children import finish, has_traceback, make_folder, run, solver_text, start
from tests.faults.crash_points import end_of, left_over
from tests.faults.kills import of_time, torn

LAST = 40
LONG = {"max_iter": LAST, "snapshot": 12, "test_interval": 20, "display": 1, "is_augmented": True}
SOLVE = ["solve", "s.prototxt"]
STORMS = {  # signals that a run gets, and how often at most; how it may end (0: it was over)
    "Ctrl-C": ([signal.SIGINT], 1, (0,)),
    "Ctrl-C twice": ([signal.SIGINT], 2, (0, 130)),
    "many Ctrl-C": ([signal.SIGINT], 20, (0, 130)),
    "SIGTERM": ([signal.SIGTERM], 1, (0, 143)),
    "SIGHUP storm": ([signal.SIGHUP], 200, (0,)),
    "SIGHUP and SIGTERM": ([signal.SIGHUP] * 9 + [signal.SIGTERM], 40, (0, 143)),
}


def one_prefix(randoms: random.Random, home: Path, wanted: object) -> Iterator[str]:
    """Two runs begin, with prefixes that are one file by different names: one is refused, the other is whole."""
    work = make_folder(home / "work", **LONG)
    (work / "link").symlink_to(work)
    other = randoms.choice(["t", "./t", str(work / "t"), "link/t"])
    options = {name: value for name, value in LONG.items() if name != "is_augmented"}
    (work / "s2.prototxt").write_text(solver_text(**options, snapshot_prefix=f'"{other}"'))
    children = [start(["solve", name], work, log) for name, log in (("s.prototxt", "log"), ("s2.prototxt", "log2"))]
    statuses = [finish(child) for child in children]
    if sorted(statuses, key=str) == [0, 0]:  # one after the other
        return
    if sorted(statuses, key=str) != [0, 2]:
        yield f"they end with {statuses}"
    yield from left_over(work)
    if end_of(work, LAST) != wanted:
        yield "the end is not that of the undisturbed run"
    if list(read_run(str(work / "t")).curves.sections["train"]) != list(range(LAST)):
        yield "the log has not the iterations of one run"


def lock_race(randoms: random.Random, home: Path, wanted: object) -> Iterator[str]:
    """Four processes take a prefix for a moment, again and again: never two at once."""
    inside, results = home / "inside", home / "results"
    results.write_text("")
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            with suppress(BaseException):
                (held, both) = hold(home / "race", inside, time.monotonic() + 0.5)
                with results.open("a") as file:
                    file.write(f"{held} {both}\n")
                os._exit(0)
            os._exit(1)
        children.append(child)
    if (statuses := [finish(child) for child in children]) != [0] * 4:
        yield f"the processes end with {statuses}"
    counts = [tuple(map(int, line.split())) for line in results.read_text().splitlines()]
    print(f"lock_race: held {sum(held for held, _ in counts)} times", flush=True)
    if any(both for _, both in counts) or not any(held for held, _ in counts):
        yield f"(times held, by two at once): {counts}"


def hold(prefix: Path, inside: Path, until: float) -> tuple[int, int]:
    """How often the prefix was held until then, and how often while another had it too."""
    held = both = 0
    while time.monotonic() < until:
        time.sleep(0.0001)
        with suppress(SolverError), reserved(prefix):
            held += 1
            try:
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                both += 1
            time.sleep(0.0005)
            inside.unlink(missing_ok=True)
    return held, both


def beside_a_writer(randoms: random.Random, home: Path, wanted: object) -> Iterator[str]:
    """A database is read record by record while all its records are written anew: the reader has those of its start."""
    path = make_folder(home / "work", **LONG) / "train_lmdb"
    go, end = home / "work" / "go", time.monotonic() + 60
    with lmdb.open(str(path), map_size=1 << 26) as environment, environment.begin() as transaction:
        values = [(bytes(key), bytes(value)) for key, value in transaction.cursor()]
    writer = os.fork()
    if not writer:
        with suppress(BaseException):
            while not go.exists() and time.monotonic() < end:
                time.sleep(0.001)
            with lmdb.open(str(path), map_size=1 << 26, sync=False) as environment:
                for _ in range(20):
                    with environment.begin(write=True) as transaction:
                        for key, value in values:
                            transaction.put(key, bytes(len(value)))
            os._exit(0)
        os._exit(1)
    database, found = open_database(path), []
    go.touch()
    for record in database.records():
        time.sleep(0.005)
        found.append(bytes(record))
    if (status := finish(writer)) != 0:
        yield f"the writer ends with {status}"
    database.close()
    if found != [value for _, value in values]:
        yield "the reader has records of the writer's"


def log_beside_a_run(randoms: random.Random, home: Path, wanted: object) -> Iterator[str]:
    """`log` of a run that writes: a table, or one line where there is nothing yet."""
    work = make_folder(home / "work", **LONG)
    child = start(SOLVE, work)
    while not over(child):
        name = randoms.choice(["t", "log", "t.jsonl"])
        if (status := run(["log", name], work, "log_of_log")) not in (0, 2):
            yield f"`log {name}` ends with {status}"
        time.sleep(randoms.random() * 0.1)
    if finish(child) != 0 or has_traceback(work / "log_of_log"):
        yield "the run, or a traceback of `log`"


def over(child: int) -> bool:
    """Whether a child has ended, which stays to be waited for."""
    return bool(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT))


def trains(work: Path) -> bool:
    return (work / "log").exists() and "] Iteration " in (work / "log").read_text(errors="replace")


def signals(randoms: random.Random, home: Path, wanted: object) -> Iterator[str]:
    """Signals at any moment: whole snapshots, and the run that goes on ends as the undisturbed one."""
    name = randoms.choice(list(STORMS))
    kinds, most, allowed = STORMS[name]
    work = make_folder(home / "work", **LONG)
    child = start(SOLVE, work)
    due, end = of_time(work, randoms.random() * 1.5), time.monotonic() + 60
    while not (due() and trains(work)) and not over(child) and time.monotonic() < end:
        time.sleep(0.002)
    for _ in range(randoms.randint(1, most) if most > 2 else most):
        os.kill(child, randoms.choice(kinds))
        time.sleep(randoms.random() * 0.004)
    if (status := finish(child)) not in allowed:
        yield f"{name}: it ends with {status}: {(work / 'log').read_text()[-300:]}"
    yield from (f"{name}: {fault}" for fault in torn(work))
    if run([*SOLVE, "--snapshot", "auto"], work) != 0 or end_of(work, LAST) != wanted:
        yield f"{name}: the run that goes on does not end as the undisturbed one"
    yield from (f"{name}: {fault}" for fault in left_over(work))
    if has_traceback(work / "log"):
        yield f"{name}: a traceback"


PARTS: tuple[Callable[[random.Random, Path, object], Iterator[str]], ...] = (
    one_prefix, lock_race, beside_a_writer, log_beside_a_run, signals,
)  # fmt: skip


def campaign(seed: int, count: int, home: Path) -> Counter[str]:
    """Each of the parts `count` times."""
    faults, randoms = Counter[str](), random.Random(seed)
    full = make_folder(home / "full", **LONG)
    assert run(SOLVE, full) == 0, (full / "log").read_text()[-2000:]
    wanted = end_of(full, LAST)
    for part in PARTS:
        for _ in range(count):
            faults.update(f"{part.__name__}: {fault}" for fault in part(randoms, home, wanted))
    print(f"concurrency: {count} times {len(PARTS)} kinds, {faults.total()} faults", flush=True)
    for fault, times in faults.most_common(20):
        print(f"   x{times} {fault}", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(bool(campaign(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())))
