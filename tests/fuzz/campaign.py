"""Many damaged files, read in forked children whose memory and time are bounded; what fails is kept and named."""

from __future__ import annotations

import faulthandler
import json
import logging
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import TextIO

import torch

import caffe_compat as cc
from tests.fuzz.place import folder
from tests.fuzz.readers import KINDS, allowed, seeds

_MEMORY = 1536 << 20  # bytes beyond what the process has, for one child
_SECONDS = 5  # of computing, for one case
_HANG = 60  # seconds at one case after which a child is killed
_NAP = 0.01
_BATCH = 250  # cases a child
_OURS = f"{os.sep}caffe_compat{os.sep}"
_WEIGHTS = {"net_build": 2.0, "text": 2.0, "caffemodel": 2.0, "leveldb": 0.4, "best_note": 0.5, "image_list": 0.5,
            "sidecar": 0.3, "image_sizes": 0.3, "certificate": 0.3}  # fmt: skip


def one_case(reader: str, number: int) -> bytes:
    """The input of case `number`: the same for the same number."""
    chance = random.Random(f"{reader} {number}")
    kind, pool = KINDS[reader], seeds(reader)
    return kind.damage(chance, chance.choice(pool), pool)


def run_batch(reader: str, first: int, count: int, at: mmap.mmap, out: TextIO) -> None:
    """Read cases `first` on; a JSON line in `out` for each that fails, and last the tally."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.chdir(folder())
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    faulthandler.register(signal.SIGUSR1, _stacks().open("a"), all_threads=True)
    tally: Counter[str] = Counter()
    for number in range(first, first + count):
        struct.pack_into("<Q", at, 0, number)
        data = one_case(reader, number)
        fault, spent = _try(reader, data)
        if spent > _SECONDS:
            spent = _try(reader, data)[1]  # once more, for clocks jump where a machine sleeps
        tally["failed" if fault else "read or refused"] += 1
        if fault:
            out.write(json.dumps([reader, number, *fault]) + "\n")
        if spent > _SECONDS:
            out.write(json.dumps([reader, number, "slow", "", f"{spent:.1f} s"]) + "\n")
    out.write(json.dumps([reader, "tally", dict(tally)]) + "\n")


def _try(reader: str, data: bytes) -> tuple[list[str], float]:
    """What is wrong with how `reader` takes `data` (error, place, message; empty where nothing is), and its seconds."""
    begun = time.process_time()
    try:
        KINDS[reader].read(data)
    except BaseException as error:
        if not allowed(reader, error):
            frames = [f for f in traceback.extract_tb(error.__traceback__) if _OURS in f.filename]
            place = f"{frames[-1].filename.split(_OURS)[-1]}:{frames[-1].lineno}" if frames else ""
            return [type(error).__name__, place, str(error)[:200]], time.process_time() - begun
        return [], time.process_time() - begun
    return [], time.process_time() - begun


def run_reader(reader: str, first: int, end: int, results: Path) -> None:
    """Cases `first` to `end`, a child for every 250; a child that dies or hangs loses only the case it was at."""
    at = mmap.mmap(-1, mmap.PAGESIZE)
    seeds(reader)  # here, as all imports, so that no child has to make them
    while first < end:
        count = min(_BATCH, end - first)
        struct.pack_into("<Q", at, 0, first)
        child = os.fork()
        if not child:
            try:
                with results.open("a", buffering=1) as out:
                    run_batch(reader, first, count, at, out)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            os._exit(99)
        verdict = _wait(child, at)
        if not verdict:
            first += count
            continue
        number = struct.unpack_from("<Q", at)[0]
        with results.open("a") as out:
            out.write(json.dumps([reader, number, verdict, "", ""]) + "\n")
        first = number + 1


def _stacks() -> Path:
    return folder().with_suffix(".stacks")


def _wait(child: int, at: mmap.mmap) -> str:
    """Empty where the child ended well, else how it ended.

    Time is counted in naps of ours: clocks jump where a machine sleeps.
    """
    number, naps = -1, 0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return f"died with {code}" if code else ""
        naps = naps + 1 if struct.unpack_from("<Q", at)[0] == number else 0
        number = struct.unpack_from("<Q", at)[0]
        if naps > _HANG / _NAP:
            os.kill(child, signal.SIGUSR1)  # where it is goes to the file of _stacks
            time.sleep(1)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hung"
        time.sleep(_NAP)


def report(results: Path) -> int:
    """Print the tally of each reader and each group of faults; gives the number of faults."""
    tallies: dict[str, Counter[str]] = {}
    faults: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    for line in results.read_text().splitlines():
        reader, number, *rest = json.loads(line)
        if number == "tally":
            tallies.setdefault(reader, Counter()).update(rest[0])
        else:
            faults.setdefault((reader, rest[0], rest[1]), []).append((number, rest[2]))
    for reader, tally in tallies.items():
        print(f"{reader:14}", ", ".join(f"{count} {word}" for word, count in sorted(tally.items())))
    for (reader, kind, place), cases in sorted(faults.items(), key=lambda each: (each[0][0], -len(each[1]))):
        print(f"{reader:14} {kind} at {place or 'no place of ours'}, {len(cases)} times, e.g. {cases[0]}")
    return sum(map(len, faults.values()))


def main() -> None:
    seed, count, *names = sys.argv[1:]
    if seed == "show":  # the bytes of one case: show READER NUMBER
        sys.stdout.buffer.write(one_case(count, int(names[0])))
        return
    names = names or list(KINDS)
    torch.set_num_threads(1)  # a fork has not the threads of its parent's pool
    for name in cc.__all__:
        getattr(cc, name)
    results = folder().with_suffix(".jsonl")
    unit = int(count) / sum(_WEIGHTS.get(name, 1.0) for name in names)
    begun = time.monotonic()
    for name in names:
        first = int(seed) * 10_000_000
        run_reader(name, first, first + max(int(unit * _WEIGHTS.get(name, 1.0)), 1), results)
        print(f"{name}: done after {time.monotonic() - begun:.0f} s", flush=True)
    found = report(results)
    spent = time.monotonic() - begun
    if _stacks().exists():
        print(_stacks().read_text(), end="")
        _stacks().unlink()
    print(f"{count} cases in {spent:.0f} s, {int(count) / spent:.0f} a second: {found or 'no'} faults")
    results.unlink()
    sys.exit(bool(found))
