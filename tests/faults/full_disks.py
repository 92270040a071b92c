"""Disks that are full, too small, read-only or gone while something is written: one line, and nothing half done.

Each verb that writes does so on a small tmpfs with 0, 1, 2 ... pages of room, and under a quota (a limit on the size of
a file). Afterwards it has either succeeded, or said one line and left what stood there; a run's earlier snapshots are
whole and go on. Needs root, for the disks are mounted, in a mount namespace that goes away with the process.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.conftest import golden
from tests.faults.children import chosen, finish, make_folder, run, solver_text, start
from tests.faults.crash_points import left_over, states
from tests.faults.kills import torn

PAGE = 4096
ROOM = 1 << 23  # bytes of a disk that has room for anything here
INSIDE = "CAFFE_COMPAT_DISKS_INSIDE"
SHORT = {"max_iter": 8, "snapshot": 2, "test_interval": 4, "display": 1}
DEPLOY = "deploy net.prototxt --weights t_iter_8.caffemodel"
LIST = "".join(f"cat.png {k % 3}\n" for k in range(60))
VERBS = {  # verb and options, run on the small disk; {0} has what it reads
    "imageset lmdb": "data imageset {0}/ {0}/images.txt made --backend lmdb",
    "imageset leveldb": "data imageset {0}/ {0}/images.txt made --backend leveldb",
    "imageset hdf5": "data imageset {0}/ {0}/images.txt made --backend hdf5",
    "pad": "data pad {0}/train_lmdb made",
    "extract lmdb": "data extract {0}/t_iter_8.caffemodel {0}/net.prototxt conv2 made 2 lmdb",
    "extract npy": "data extract {0}/t_iter_8.caffemodel {0}/net.prototxt conv2 made.npy 2 npy",
    "mean": "data mean {0}/train_lmdb made.binaryproto",
    "decompose": "decompose {0}/net.prototxt {0}/t_iter_8.caffemodel --ranks conv2=2 --out made",
    "prune": "prune {0}/net.prototxt {0}/t_iter_8.caffemodel --remove 0.5 --out made",
    "deploy": "deploy {0}/net.prototxt made.prototxt",
    "convert": "convert {0}/t_iter_8.caffemodel made.caffemodel.h5",
    "safetensors": "convert {0}/t_iter_8.caffemodel made.safetensors",
    "dump": "compare {0}/net.prototxt --weights {0}/t_iter_8.caffemodel --dump made.npz",
    "surgery": "surgery {0}/d.prototxt {0}/d.caffemodel --fully-convolutional --out made --certificate made.json",
    "certificate": "decompose {0}/d.prototxt {0}/d.caffemodel --ranks conv2=2 --out made --certificate made.json",
    "torch": "export {0}/d.prototxt {0}/d.caffemodel --format torch --out made",
    "pt2": "export {0}/d.prototxt {0}/d.caffemodel --out made.pt2",
    "convert state": "convert {0}/t_iter_8.solverstate made.solverstate.h5",
    "upgrade": "upgrade {0}/t_iter_8.caffemodel made.caffemodel",
    "log": "log {0}/t --csv made.csv --plot made.png",
    "show": "show {0}/net.prototxt --html made.html",
    "export": "export {0}/net.prototxt {0}/t_iter_8.caffemodel --out made.onnx --input data=1,1,7,7",
}


def obstacle() -> str | None:
    """Why no disk can be mounted here; None where one can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "small disks are mounted by root alone"
    if shutil.which("unshare") is None:
        return "mount namespaces need util-linux's unshare"
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode:
        return "this system lets nobody mount a tmpfs"
    return None


class Disk:
    """A tmpfs with so many free bytes, in whole pages; a context that unmounts it."""

    def __init__(self, place: Path, free: int) -> None:
        self.place, self.free = place, free

    def __enter__(self) -> Path:
        self.place.mkdir(parents=True, exist_ok=True)
        size = self.free // PAGE * PAGE + PAGE
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.place], check=True)
        (self.place / "filler").write_bytes(bytes(PAGE))
        return self.place

    def __exit__(self, *_: object) -> None:
        os.chdir("/")
        subprocess.run(["umount", "-l", self.place], check=True)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def outcome(status: int | None, log: str) -> Iterator[str]:
    """What is wrong with how a command ended: 0 without, or 2 with one line."""
    lines = [line for line in log.splitlines() if line.startswith("caffe-compat: ")]
    if status is None:
        yield "does not end"
    elif status not in (0, 2) or (status == 2) != (len(lines) == 1):
        yield f"status {status} with {len(lines)} lines"
    if "Traceback (most recent call last)" in log or "fault of caffe_compat" in log:
        yield f"a traceback: {log[-300:]}"


def of_verb(words: Sequence[str], disk: Path, log: Path) -> Iterator[str]:
    """What is wrong with a verb on this disk: it succeeds, or leaves nothing."""
    before = names(disk)
    status = run(words, disk, str(log))
    yield from outcome(status, log.read_text())
    left = names(disk) - before
    if status == 2 and left:
        yield f"leaves {sorted(left)}"
    if status == 0 and not left:
        yield "succeeds and writes nothing"


def of_run(work: Path, probe: Path) -> Iterator[str]:
    """What is wrong with a run's folder after its disk was full: whole snapshots, which go on elsewhere."""
    yield from torn(work)
    yield from left_over(work)
    shutil.rmtree(probe, ignore_errors=True)
    shutil.copytree(work, probe)
    if states(work) and (status := run(["solve", "s.prototxt", "--snapshot", "auto"], probe, "log")) != 0:
        yield f"what is there does not go on: {status}: {(probe / 'log').read_text()[-300:]}"


def snapshots(seed: int, count: int, home: Path, form: str) -> Counter[str]:
    """Runs on disks of 0, 1, 2 ... pages, `count` of them between none and enough."""
    options = {**SHORT, "snapshot_format": form}
    whole, disk, log = make_folder(home / f"whole_{form}", **options), home / "disk", home / "log"
    assert run(["solve", "s.prototxt"], whole) == 0
    files = [file for file in whole.iterdir() if file.name.startswith("t_") or file.suffix == ".jsonl"]
    pages = sum(-(-file.stat().st_size // PAGE) for file in files) + 4
    faults = Counter[str]()
    for number in chosen(seed, count, pages):
        with Disk(disk, (number - 1) * PAGE) as work:
            (work / "s.prototxt").symlink_to(write_solver(home, whole, options))
            log.unlink(missing_ok=True)
            status = run(["solve", "s.prototxt"], work, str(log))
            text = log.read_text()
            found = [*outcome(status, text), *of_run(work, home / "probe")]
            if status == 0 and len(states(work)) < len(states(whole)):
                found.append("ends well without its snapshots")
            faults.update(f"solve {form}: {number - 1} pages: {fault}" for fault in found)
    return faults


def write_solver(home: Path, whole: Path, options: dict[str, object]) -> Path:
    """A solver whose net and data lie off the small disk."""
    text = (whole / "net.prototxt").read_text().replace('"list.txt"', f'"{whole}/list.txt"')
    (whole / "list.txt").write_text(f"{whole}/data.h5\n")
    (home / "off.prototxt").write_text(text)
    (home / "s.prototxt").write_text(solver_text(**options, net=f'"{home}/off.prototxt"'))
    return home / "s.prototxt"


def quotas(seed: int, count: int, home: Path, form: str) -> Counter[str]:
    """Runs whose files may have that many bytes at most, as under a quota: none at all, and `count` more."""
    options = {**SHORT, "snapshot_format": form}
    whole, faults = make_folder(home / f"quota_{form}", **options), Counter[str]()
    assert run(["solve", "s.prototxt"], whole) == 0
    largest = max(file.stat().st_size for file in whole.iterdir() if file.name.startswith("t_"))
    for limit in [0, *chosen(seed, count, largest + 100)]:
        work = make_folder(home / "work", **options)
        status, text = piped(["solve", "s.prototxt"], work, lambda limit=limit: limit_files(limit))
        found = [*outcome(status, text), *of_run(work, home / "probe")]
        faults.update(f"solve {form} with files of {limit} bytes: {fault}" for fault in found)
    return faults


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def piped(words: Sequence[str], work: Path, before: Callable[[], None]) -> tuple[int | None, str]:
    """Status and output of a run that writes it into a pipe, for a log of its own would have the limit too."""
    reader, writer = os.pipe()
    child = start(words, work, f"/dev/fd/{writer}", before)
    os.close(writer)
    status = finish(child)
    with os.fdopen(reader, errors="replace") as pipe:
        return status, pipe.read()


def verbs(seed: int, count: int, home: Path) -> Counter[str]:
    """Each verb that writes, on `count` sizes of disk between nothing and enough, and on one that is read-only."""
    source = make_folder(home / "source", is_augmented=True, **SHORT)
    assert run(["solve", "s.prototxt"], source) == 0
    shutil.copy(golden("formats") / "images" / "img_00.png", source / "cat.png")
    (source / "images.txt").write_text(LIST)
    assert run([*DEPLOY.split(), "--out", "d.prototxt", "--out-weights", "d.caffemodel"], source) == 0
    faults, log = Counter[str](), home / "log"
    for name, line in VERBS.items():
        words = line.format(source).split()
        with Disk(home / "disk", ROOM) as disk:
            found = list(of_verb(words, disk, fresh(log)))
            pages = sum(-(-path.stat().st_size // PAGE) for path in disk.rglob("made*") if path.is_file())
        assert not found, (name, found, log.read_text())
        for number in chosen(seed, count, max(pages, 1)):
            with Disk(home / "disk", (number - 1) * PAGE) as disk:
                faults.update(f"{name}: {number - 1} pages: {fault}" for fault in of_verb(words, disk, fresh(log)))
        with Disk(home / "disk", ROOM) as disk:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            faults.update(f"{name}: read-only: {fault}" for fault in of_verb(words, disk, fresh(log)))
    return faults


def fresh(log: Path) -> Path:
    log.unlink(missing_ok=True)
    return log


def changes(home: Path) -> Counter[str]:
    """The disk, the folder or the data changes while a run trains: it ends in a line, or goes on where it can."""
    faults, options = Counter[str](), {**SHORT, "max_iter": 600, "snapshot": 50, "snapshot_prefix": '"snap/t"'}
    for name, (change, statuses) in CHANGES.items():
        with Disk(home / "disk", ROOM) as disk:
            work = make_folder(disk / "run", is_augmented=True, **options)
            (work / "snap").mkdir()
            child, end = start(["solve", "s.prototxt"], work, str(fresh(home / "log"))), time.monotonic() + 60
            while not states(work / "snap") and time.monotonic() < end:
                time.sleep(0.01)
            change(work)
            status = finish(child)
            found = [] if status and status < 0 else list(outcome(status, (home / "log").read_text()))
            found += [] if status in statuses else [f"ends with {status}"]
            faults.update(f"{name}: {fault}" for fault in found)
    return faults


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[int, ...]]] = {  # and how the run may end
    "folder removed": (lambda work: shutil.rmtree(work / "snap"), (2,)),
    "folder renamed": (lambda work: (work / "snap").rename(work / "elsewhere"), (2,)),
    "disk full": (lambda work: fill(work.parent), (2,)),
    "data removed": (lambda work: shutil.rmtree(work / "train_lmdb"), (0,)),  # it is open, and stays
    "data cut": (lambda work: os.truncate(work / "train_lmdb" / "data.mdb", 2 * PAGE), (0, 2, -signal.SIGBUS)),
}


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            return


def inside(seed: int, count: int, home: Path) -> Counter[str]:
    faults = Counter[str]()
    for form in ("BINARYPROTO", "HDF5"):
        faults += snapshots(seed, count, home, form)
        faults += quotas(seed, count, home, form)
    faults += verbs(seed, max(1, count // 3), home)
    faults += changes(home)
    print(f"full_disks: {count} sizes a kind, {len(VERBS)} verbs, {sum(faults.values())} faults", flush=True)
    for fault, times in faults.most_common(30):
        print(f"   x{times} {fault}", flush=True)
    return faults


def campaign(seed: int, count: int, home: Path) -> Counter[str]:
    """`count` sizes of disk and of quota for each kind of snapshot, a third of that for each verb."""
    if reason := obstacle():
        print(f"full_disks: skipped: {reason}", flush=True)
        return Counter()
    command = ["unshare", "-m", sys.executable, "-m", "tests.faults.full_disks", str(seed), str(count), str(home)]
    done = subprocess.run(command, env={**os.environ, INSIDE: "1"}, timeout=600 + 60 * count, check=False)
    return Counter({"full_disks: see above": 1} if done.returncode else {})


if __name__ == "__main__":
    part = inside if os.environ.get(INSIDE) else campaign
    sys.exit(bool(part(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())))
