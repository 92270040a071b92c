"""torchrun --max-restarts N with --snapshot auto: a run of which a rank is killed goes on by itself, to the bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.faults.children import make_folder
from tests.faults.crash_points import end_of, free_port, left_over
from tests.faults.ranks import LONG, iteration


def begin(folder: Path, restarts: int) -> subprocess.Popen[bytes]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port(),
                "--max-restarts", str(restarts)]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [*torchrun, "-m", "caffe_compat.solve", "s.prototxt", "--snapshot", "auto"],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    """The ranks that torchrun has running, by their process ids; `process` is torchrun, or what started it."""
    below, ranks = [process.pid], []
    while below:
        children = Path(f"/proc/{below.pop()}/task").glob("*/children")
        for pid in (int(word) for file in children for word in file.read_text().split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            is_rank = b"caffe_compat.solve" in words and b"torch.distributed.run" not in words
            (ranks if is_rank else below).append(pid)
    return ranks


def run_once(randoms: random.Random, kills: int, folder: Path) -> int | None:
    """A run of which ranks are killed `kills` times; the status of torchrun, None where it does not end."""
    process = begin(folder, kills)
    for _ in range(kills):
        start, last = (folder / "log").stat().st_size, time.monotonic() + 120
        target = randoms.randint(1, 8)
        while process.poll() is None and time.monotonic() < last:
            with (folder / "log").open(errors="replace") as log:
                log.seek(start)
                if log.read().count(", loss = ") >= target:
                    break
            time.sleep(0.01)
        if process.poll() is None and (living := workers(process)):
            os.kill(randoms.choice(living), signal.SIGKILL)
            time.sleep(0.5)
    try:
        return process.wait(240)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        return None


def campaign(seed: int, count: int, home: Path) -> Counter[str]:
    """`count` kills of either rank, up to five in each run of torchrun."""
    if not Path("/proc/self/task").is_dir():
        print("restarts: skipped: the ranks of torchrun are found in /proc", flush=True)
        return Counter()
    faults: Counter[str] = Counter()
    full = make_folder(home / "full", **LONG)
    assert run_once(random.Random(seed), 0, full) == 0, (full / "log").read_text()[-2000:]
    randoms, wanted, kills = random.Random(seed), end_of(full, 60), 0
    while kills < count:
        work = make_folder(home / "work", **LONG)
        now = min(5, count - kills)
        status = run_once(randoms, now, work)
        kills += now
        if status != 0:
            faults[f"torchrun ends with {status} at iteration {iteration(work / 'log')}"] += 1
        elif end_of(work, 60) != wanted:
            faults["the end is not that of the undisturbed run"] += 1
        faults.update(left_over(work))
    print(f"restarts: {kills} kills, {sum(faults.values())} faults {dict(faults)}", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(bool(campaign(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())))
