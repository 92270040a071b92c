"""The whole campaign: python -m tests.faults SEED COUNT [FOLDER [PART ...]].

COUNT kills before steps on the file system, spread over all kinds of runs, and of the others the share that PARTS says.
A line a kind of run, and one a fault; exit status 1 where there was any. What cannot be done here is skipped, with the
reason.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults import concurrency, crash_points, full_disks, kills, ranks, restarts, spot_checks, two_hosts

Part = Callable[[int, int, Path], Counter[str]]
PARTS: dict[str, tuple[Part, float, int]] = {  # what does it, its share of COUNT, and how many at the least
    "crash_points": (crash_points.campaign, 1 / len(crash_points.CASES), 1),
    "kills": (kills.campaign, 1 / 5, 4),
    "full_disks": (full_disks.campaign, 1 / 100, 2),
    "concurrency": (concurrency.campaign, 1 / 50, 1),
    "spot_checks": (spot_checks.campaign, 1 / 10, 5),
    "ranks": (ranks.campaign, 1 / 50, 2),
    "restarts": (restarts.campaign, 1 / 50, 1),
    "two_hosts": (two_hosts.campaign, 1 / 250, 1),
}


def main(seed: int, count: int, home: Path, names: list[str]) -> int:
    """The number of faults that the parts of these names found."""
    faults = 0
    for name in names:
        part, share, least = PARTS[name]
        (home / name).mkdir(parents=True, exist_ok=True)
        faults += part(seed, max(least, int(count * share)), home / name).total()
    print(f"{faults} faults")
    return faults


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        home = Path(sys.argv[3] if sys.argv[3:] else folder).resolve()
        sys.exit(bool(main(int(sys.argv[1]), int(sys.argv[2]), home, sys.argv[4:] or list(PARTS))))
