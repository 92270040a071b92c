"""Two ranks, one of which is killed now and then: with --snapshot auto the run ends where an undisturbed one ends."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.faults.children import finish, make_folder, start
from tests.faults.crash_points import end_of, free_port, left_over, rank

LONG = {"max_iter": 60, "snapshot": 20, "test_interval": 20, "display": 1}


def begin(folder: Path, *words: str) -> list[int]:
    port = free_port()
    return [start(["solve", "s.prototxt", *words], folder, "log", rank(number, port)) for number in (0, 1)]


def iteration(log: Path) -> int:
    found = re.findall(r"\] Iteration (\d+), loss", log.read_text(errors="replace")) if log.exists() else []
    return int(found[-1]) if found else -1


def campaign(seed: int, count: int, home: Path) -> Counter[str]:
    """`count` kills of either rank, a few in each run."""
    randoms, faults = random.Random(seed), Counter[str]()
    full = make_folder(home / "full", **LONG)
    assert [finish(child) for child in begin(full)] == [0, 0], (full / "log").read_text()[-2000:]
    wanted, kills = end_of(full, 60), 0
    while kills < count:
        work = make_folder(home / "work", **LONG)
        for _ in range(min(3, count - kills)):
            children = begin(work, "--snapshot", "auto")
            target = max(0, iteration(work / "log")) + randoms.randint(1, 20)
            end = time.monotonic() + 60
            while iteration(work / "log") < target and time.monotonic() < end and not _ended(children):
                time.sleep(0.005)
            victim = randoms.choice(children)
            if victim in children:
                os.kill(victim, signal.SIGKILL)
            kills += 1
            for child in children:
                if finish(child) is None:
                    faults["a rank did not end after the other was killed"] += 1
        statuses = [finish(child) for child in begin(work, "--snapshot", "auto")]
        if statuses != [0, 0]:
            faults[f"the last run ends with {statuses}"] += 1
        elif end_of(work, 60) != wanted:
            faults["the end is not that of the undisturbed run"] += 1
        for name in left_over(work):
            faults[name] += 1
    print(f"ranks: {kills} kills, {sum(faults.values())} faults {dict(faults)}", flush=True)
    return faults


def _ended(children: list[int]) -> bool:
    """Whether one of them has ended, which stays to be waited for."""
    return any(os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) for child in children)


if __name__ == "__main__":
    sys.exit(bool(campaign(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())))
