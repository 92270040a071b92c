"""Two hosts, as two network namespaces: a cut link ends each side within --link-timeout, and the run goes on after it,
to the end of one that nothing disturbed on a single host. A process killed on either is started anew by torchrun.

Needs root and iproute2. The commands are those of docs/how-to/train.md, which are read from there.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.children import finish, has_traceback, make_folder
from tests.faults.crash_points import end_of, faults_of, fingerprint, free_port, states
from tests.faults.ranks import begin, iteration
from tests.faults.restarts import workers

PAGE = ROOT / "docs" / "how-to" / "train.md"
LAST = 400
LONG = {"max_iter": LAST, "snapshot": 150, "test_interval": 200, "display": 10}
LINK_TIMEOUT, SLACK = 6, 30  # seconds; the second for an iteration, a snapshot and torchrun's own end


def obstacle() -> str | None:
    """Why there can be no two hosts here; None where there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    probe = f"cc{os.getpid()}p"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode:
        return "this system lets nobody make network namespaces"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Hosts:
    """Two namespaces with a link between them."""

    def __init__(self) -> None:
        self.names = [f"cc{os.getpid()}{side}" for side in "ab"]
        self.links = [f"{name}0" for name in self.names]

    def start(self, rank: int, folder: Path, port: str, restarts: int = 0) -> subprocess.Popen[bytes]:
        """The page's commands on one host; what is particular to a reader's machines is put in its place."""
        (commands,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        for there, here in {"eth0": self.links[rank], "29500": port, "--max-restarts 3": f"--max-restarts {restarts}",
                            "--link-timeout 300": f"--link-timeout {LINK_TIMEOUT}"}.items():  # fmt: skip
            assert there in commands
            commands = commands.replace(there, here)
        programs = folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "torchrun").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m torch.distributed.run "$@"\n')
        (programs / "torchrun").chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "R": str(rank), "HOST": "10.99.7.1", "PATH": path, "PYTHONPATH": str(ROOT)}
        with (folder / f"log{rank}").open("a") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.names[rank], "bash", "-c", commands],
                cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def cut(self, state: str = "down") -> None:
        ip("-n", self.names[1], "link", "set", self.links[1], state)


@contextmanager
def two_hosts():
    hosts = Hosts()
    try:
        for name in hosts.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        (a, b), (near, far) = hosts.names, hosts.links
        ip("link", "add", near, "netns", a, "type", "veth", "peer", "name", far, "netns", b)
        for number, (name, link) in enumerate(zip(hosts.names, hosts.links, strict=True), 1):
            ip("-n", name, "addr", "add", f"10.99.7.{number}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
        yield hosts
    finally:
        for name in hosts.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def end(process: subprocess.Popen[bytes], until: float) -> int | None:
    try:
        return process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def trained(folder: Path, side: subprocess.Popen[bytes], moment: int) -> bool:
    """Whether the first host comes to iteration `moment`."""
    limit = time.monotonic() + 120
    while iteration(folder / "log0") < moment and time.monotonic() < limit and side.poll() is None:
        time.sleep(0.05)
    return iteration(folder / "log0") >= moment


def cut_once(hosts: Hosts, home: Path, moment: int, wanted: object) -> list[str]:
    """The faults that a link brings about which is cut after iteration `moment`; wanted: the undisturbed run's end."""
    folders = [make_folder(home / f"host{rank}", **LONG) for rank in (0, 1)]
    port = free_port()
    sides = [hosts.start(rank, folder, port) for rank, folder in enumerate(folders)]
    faults = [] if trained(folders[0], sides[0], moment) else ["the two hosts did not train"]
    hosts.cut()
    until = time.monotonic() + LINK_TIMEOUT + SLACK
    faults += [f"host {rank} still runs" for rank, side in enumerate(sides) if end(side, until) is None]
    hosts.cut("up")
    faults += [
        f"host {rank}: a traceback of ours" for rank, folder in enumerate(folders) if torn(folder / f"log{rank}")
    ]
    if not (found := states(folders[0])):
        return [*faults, f"no snapshot on the first host: {(folders[0] / 'log0').read_text()[-600:]}"]
    return faults + faults_of(folders[0], {fingerprint(state) for state in found}) + go_on(hosts, folders, wanted)


def go_on(hosts: Hosts, folders: list[Path], wanted: object) -> list[str]:
    """The faults of both hosts' going on from the first one's snapshots, which are copied to the second."""
    for file in folders[1].glob("t_*"):
        file.unlink()
    for file in folders[0].glob("t_*"):
        shutil.copy(file, folders[1])
    port = free_port()
    return of_end([hosts.start(rank, folder, port) for rank, folder in enumerate(folders)], folders[0], wanted)


def kill_once(hosts: Hosts, home: Path, moment: int, victim: int, wanted: object) -> list[str]:
    """The faults that the end of the process on host `victim` brings about: both go on by themselves."""
    folder, port = make_folder(home / "shared", **LONG), free_port()
    sides = [hosts.start(rank, folder, port, restarts=3) for rank in (0, 1)]
    faults = [] if trained(folder, sides[0], moment) else ["the two hosts did not train"]
    for process in workers(sides[victim]):
        os.kill(process, signal.SIGKILL)
    return faults + of_end(sides, folder, wanted)


def of_end(sides: list[subprocess.Popen[bytes]], folder: Path, wanted: object) -> list[str]:
    """The faults of how two hosts end that nothing disturbs any more."""
    until = time.monotonic() + 300
    if (statuses := [end(side, until) for side in sides]) != [0, 0]:
        return [f"the hosts that go on end with {statuses}: {(folder / 'log0').read_text()[-600:]}"]
    return [] if end_of(folder, LAST) == wanted else ["the end is not that of the undisturbed run"]


def torn(log: Path) -> bool:
    """Whether a process of ours ended in a traceback: torchrun's own, about a child that failed, are its way."""
    return has_traceback(log) and "caffe_compat/solver" in log.read_text(errors="replace").partition("Traceback")[2]


def campaign(seed: int, count: int, home: Path) -> Counter[str]:
    """Cut the link and kill a process `count` times each. Prints one line, and says so where there are no two hosts."""
    if reason := obstacle():
        print(f"two_hosts: skipped: {reason}", flush=True)
        return Counter()
    faults: Counter[str] = Counter()
    randoms, full = random.Random(seed), make_folder(home / "full", **LONG)
    assert [finish(child, 300) for child in begin(full)] == [0, 0], (full / "log").read_text()[-2000:]
    with two_hosts() as hosts:
        for number in range(count):
            faults.update(cut_once(hosts, home, randoms.randint(20, 200), end_of(full, LAST)))
            faults.update(kill_once(hosts, home, randoms.randint(20, 200), (seed + number) % 2, end_of(full, LAST)))
    print(f"two_hosts: {count} cuts, {count} kills, {sum(faults.values())} faults {dict(faults)}", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(bool(campaign(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).resolve())))
