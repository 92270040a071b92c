"""A little of each part of the campaign that needs no root: python -m tests.faults.quick SEED.

Its files lie in memory where the system has a place for that: a process that is killed leaves the same there.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults import concurrency, crash_points, kills, spot_checks
from tests.fuzz.place import folder

QUICK: dict[str, Callable[[int, Path], object]] = {
    "crash_points": lambda seed, home: crash_points.campaign(seed, 2, home, ["bestagain_h5_1"]),
    "kills": lambda seed, home: kills.campaign(seed, 2, home, ["sgd"]),
    "concurrency": lambda seed, home: concurrency.campaign(seed, 1, home),
    "spot_checks": lambda seed, home: spot_checks.campaign(seed, 3, home, spot_checks.QUICK),
}

if __name__ == "__main__":
    for name, part in QUICK.items():
        (folder() / name).mkdir()
        part(int(sys.argv[1]), folder().resolve() / name)
