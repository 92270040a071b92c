"""Single faults: each is found in a line with the way out, or changes nothing.

Snapshots with files of another run, with any bit of any file flipped, with a side-car that is none or a bomb, a run
folder that was copied; logs that no run wrote; sources that are no regular files; threads that stay.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import random
import resource
import shutil
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.solver.sidecar import _own_checksum
from tests.conftest import golden
from tests.faults.children import has_traceback, make_folder, run
from tests.faults.crash_points import end_of

FROM = ["solve", "s.prototxt", "--snapshot", "t_iter_4.solverstate"]
LOGS = {
    "ranks without numbers": "I1129 20:00:01.000000     1 x.py:1]     Ranks at 95 % energy: conv1\n",
    "a date that is none": "I9929 20:00:00.000000     1 x.py:1] Iteration 0, loss = 1\n",
    "February 29th": "I0229 20:00:00.000000     1 x.py:1] Iteration 0, loss = 1\n",
    "an iteration in words": '{"event":"step","iteration":"x","smoothed_loss":1,"lr":1,"time":1}\n',
}
IMAGE_DATA = (
    'layer {{ name: "d" type: "ImageData" top: "data" top: "label" '
    'image_data_param {{ source: "{0}" batch_size: 2 new_height: 8 new_width: 8 }} }}'
)
BOMB = 1 << 31  # bytes that a few unpack to
FEW = 4  # threads that are about to end
ROOM = 1 << 29  # bytes that a run may take on top of what it has


class Runs:
    """Two finished runs with another seed each, and copies of the first."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.first, self.other = (make_folder(home / name, random_seed=seed) for name, seed in (("a", 1), ("b", 7)))
        for folder in (self.first, self.other):
            assert run(["solve", "s.prototxt"], folder) == 0, (folder / "log").read_text()[-2000:]
        self.end = end_of(self.first)

    def copy(self) -> Path:
        work = self.home / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.first, work)
        for file in work.glob("t_iter_12*"):
            file.unlink()
        (work / "log").unlink()
        return work

    def outcome(self, work: Path, what: str, refused: bool = True) -> Iterator[str]:
        """What is wrong with going on: it is to be refused in a line; else it may also end as if nothing were wrong."""
        status = run(FROM, work)
        lines = [line for line in (work / "log").read_text().splitlines() if line.startswith("caffe-compat: ")]
        if status == 0 and not refused and end_of(work) == self.end:
            return
        if status != 2 or len(lines) != 1 or has_traceback(work / "log"):
            yield f"{what}: status {status}, {lines or (work / 'log').read_text()[-300:]}"


Part = Callable[[Runs, random.Random], Iterator[str]]


def of_another_run(runs: Runs, randoms: random.Random) -> Iterator[str]:
    """Each file of a snapshot in the place of another run's."""
    for name in ("t_iter_4.caffemodel", "t_iter_4.solverstate"):
        work = runs.copy()
        shutil.copy(runs.other / name, work / name)
        yield from runs.outcome(work, f"{name} of another run")
    work = runs.copy()
    shutil.copy(runs.other / "t_iter_4.solverstate.json", work)
    if run(FROM, work) != 0 or "belongs to another solverstate" not in (work / "log").read_text():
        yield "a side-car of another run goes unnoticed"


def flipped(runs: Runs, randoms: random.Random) -> Iterator[str]:
    """A bit of a file of a snapshot: it is noticed, or it says the same."""
    work = runs.copy()
    file = work / randoms.choice(["t_iter_4.caffemodel", "t_iter_4.solverstate", "t_iter_4.solverstate.json"])
    content = bytearray(file.read_bytes())
    bit = randoms.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    yield from runs.outcome(work, f"bit {bit} of {file.name}", refused=False)


def sidecars(runs: Runs, randoms: random.Random) -> Iterator[str]:
    """Side-cars with fitting checksums and sections that are none; one that unpacks to gigabytes."""
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(BOMB >> 20)) + packer.flush()
    changes: dict[str, dict[str, Any]] = {
        "generators that are no base64": {"random": [{"cpu": "x"}]}, "a list of cursors": {"cursor": []},
        "a number of losses": {"losses": 3}, "a seed in words": {"cursor": {"train": {"data": [0, "x"]}}},
        "no generators": {"random": []}, "a bomb": {"random": [{"cpu": base64.b64encode(bomb).decode()}]},
    }  # fmt: skip
    for what, change in changes.items():
        work = runs.copy()
        path = work / "t_iter_4.solverstate.json"
        facts = json.loads(path.read_text()) | change
        facts["checksums"]["sidecar"] = _own_checksum(facts)
        path.write_text(json.dumps(facts))
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        yield from runs.outcome(work, f"a side-car with {what}")
        if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before > ROOM >> 10:
            yield f"a side-car with {what} takes the memory"


def notes(runs: Runs, randoms: random.Random) -> Iterator[str]:
    work = runs.copy()
    (work / "t_best_accuracy.json").write_text('{"value":')
    if run([*FROM, "--keep-best", "accuracy"], work) != 2 or has_traceback(work / "log"):
        yield f"a note of the best score that is cut: {(work / 'log').read_text()[-300:]}"


def copied(runs: Runs, randoms: random.Random) -> Iterator[str]:
    """A run folder that was copied goes on from its own weights, also where the old folder has others by now."""
    old, new = runs.copy(), runs.home / "copied"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(old, new)
    shutil.copy(runs.other / "t_iter_4.caffemodel", old / "t_iter_4.caffemodel")
    status = run(["solve", "s.prototxt", "--snapshot", str(new / "t_iter_4.solverstate")], old)
    if status != 0 or end_of(old) != runs.end:
        yield f"a copied folder: status {status}, or the weights of the old one"


def logs(runs: Runs, randoms: random.Random) -> Iterator[str]:
    for what, text in LOGS.items():
        work = runs.copy()
        (work / "x.log").write_text(text)
        if run(["log", "x.log"], work) not in (0, 2) or has_traceback(work / "log"):
            yield f"a log with {what}: {(work / 'log').read_text()[-300:]}"


def no_files(runs: Runs, randoms: random.Random) -> Iterator[str]:
    """A FIFO and a device, given for each kind of file, are refused at once."""
    work = runs.copy()
    os.mkfifo(work / "fifo")
    words = (
        "solve {}", "solve s.prototxt --snapshot {}", "solve s.prototxt --weights {}", "show {}", "check {}", "log {}",
        "test {} --weights t_iter_4.caffemodel", "test net.prototxt --weights {}", "convert {} a.h5", "upgrade {} a.b",
        "decompose net.prototxt t_iter_4.caffemodel --rank-config {} --out x", "data mean {} m.binaryproto",
        "verify net.prototxt t_iter_4.caffemodel net.prototxt t_iter_4.caffemodel --certificate {}",
    )  # fmt: skip
    for line in words:
        for path in ("fifo", "/dev/zero"):
            begun = time.monotonic()
            status = run(line.format(path).split(), work, seconds=30)
            if status != 2 or has_traceback(work / "log"):
                told = (work / "log").read_text()[-200:]
                yield f"'{line.format(path)}': status {status} after {time.monotonic() - begun:.0f} s: {told}"


def threads(runs: Runs, randoms: random.Random) -> Iterator[str]:
    """Forty nets that read images and are gone leave no threads, though an image is missing."""
    image = golden("formats") / "images" / "img_00.png"
    before = threading.active_count()
    for second in (image, "/nowhere.png"):
        (runs.home / "list.txt").write_text(f"{image} 1\n{second} 2\n")
        for _ in range(20):
            net = cc.Net(cc.parse_text(IMAGE_DATA.format(runs.home / "list.txt"), cc.NetParameter), phase="TEST")
            with suppress(cc.CaffeCompatError):
                net.blobs()
                net.blobs()
            del net
    gc.collect()
    end = time.monotonic() + 10
    while threading.active_count() > before + FEW and time.monotonic() < end:
        time.sleep(0.1)
    if threading.active_count() > before + FEW:
        yield f"{threading.active_count() - before} threads stay"


ONCE: tuple[Part, ...] = (
    of_another_run, sidecars, notes, copied, logs, no_files, threads,
)  # fmt: skip


QUICK = (of_another_run, notes, copied, logs)


def campaign(seed: int, count: int, home: Path, once: Sequence[Part] = ONCE) -> Counter[str]:
    """Each single fault once, and `count` flipped bits."""
    randoms, runs = random.Random(seed), Runs(home)
    parts = [*once, *[flipped] * count]
    faults = Counter(f"{part.__name__}: {fault}" for part in parts for fault in part(runs, randoms))
    print(f"spot_checks: {len(once)} kinds, {count} flipped bits, {faults.total()} faults", flush=True)
    for fault, times in faults.most_common(30):
        print(f"   x{times} {fault}", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(bool(campaign(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())))
