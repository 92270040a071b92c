"""The whole campaign: python -m tests.faults SEED COUNT [FOLDER].

COUNT kills before steps on the file system, spread over all kinds of runs; COUNT / 50 kills of one of two ranks;
COUNT / 100 kills under torchrun, which starts both again; COUNT / 250 cuts of the link between two hosts. A line a kind
of run, and one a fault; exit status 1 where there was any. What cannot be done here is skipped, with the reason.
"""

import sys
import tempfile
from pathlib import Path

from tests.faults import crash_points, ranks, restarts, two_hosts

if __name__ == "__main__":
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        home = Path(sys.argv[3] if sys.argv[3:] else folder).resolve()
        faults = crash_points.campaign(seed, max(1, count // len(crash_points.CASES)), home / "crash")
        faults += ranks.campaign(seed, max(2, count // 50), home / "ranks")
        faults += restarts.campaign(seed, max(1, count // 100), home / "restarts")
        faults += two_hosts.campaign(seed, max(1, count // 250), home / "hosts")
    print(f"{sum(faults.values())} faults")
    sys.exit(bool(faults))
