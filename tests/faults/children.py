"""Runs in children that are forked after the imports: a run costs its iterations, and may die at any moment."""

from __future__ import annotations

import gc
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.data.databases import write_database
from caffe_compat.layers.registry import find_class
from tests.commands.conftest import NET, Problem

VERBS = ("solve", "log", "runs", "signals")  # of which children are made by the dozen
DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "conv1" top: "conv1" }\nlayer { name: "conv2"'
HDF5_LAYER = """type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "list.txt" batch_size: 10 } }"""
LMDB_LAYER = """type: "Data" top: "data" top: "label"
  transform_param { scale: 0.00390625 crop_size: 7 mirror: true }
  data_param { source: "train_lmdb" backend: LMDB batch_size: 10 } }"""
SOLVER = {
    "net": '"net.prototxt"', "type": '"Adam"', "test_iter": 1, "test_interval": 3, "base_lr": 0.002, "momentum": 0.9,
    "momentum2": 0.999, "lr_policy": '"fixed"', "display": 2, "average_loss": 3, "max_iter": 12, "snapshot": 4,
    "snapshot_prefix": '"t"', "random_seed": 1, "solver_mode": "CPU",
}  # fmt: skip


def solver_text(**changes: object) -> str:
    return "".join(f"{name}: {value}\n" for name, value in {**SOLVER, **changes}.items() if value is not None)


def make_folder(path: Path, is_augmented: bool = False, **changes: object) -> Path:
    """A new folder with a small net that has dropout, its data and s.prototxt.

    is_augmented: images come from an LMDB, cropped and mirrored at random.
    """
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    problem = Problem(path)
    problem.edit("net.prototxt", 'layer { name: "conv2"', DROPOUT)
    if is_augmented:
        problem.edit("net.prototxt", HDF5_LAYER, LMDB_LAYER)
        images = np.random.RandomState(0).randint(0, 256, (40, 1, 8, 8)).astype(np.uint8)
        records = [(b"%08d" % i, cc.encode_datum(image, i % 2)) for i, image in enumerate(images)]
        write_database(path / "train_lmdb", records)
    (path / "s.prototxt").write_text(solver_text(**changes))
    return path


@cache
def load_what_runs_use() -> None:
    """Import what runs ask for when they first need it, so that no child has to: that is most of a short run."""
    for module in ("torch.distributed", "h5py", *(f"caffe_compat.commands.{verb}" for verb in VERBS)):
        import_module(module)
    commands = Path(cc.__file__).with_name("commands")
    for name in re.findall(r"\bcc\.(\w+)", "".join((commands / f"{verb}.py").read_text() for verb in VERBS)):
        getattr(cc, name)
    for kind in re.findall(r'type: "(\w+)"', f"{NET}{DROPOUT}{LMDB_LAYER}"):
        find_class(kind)


def start(words: Sequence[str], folder: Path, log: str = "log", before: Callable[[], None] | None = None) -> int:
    """Fork a child that runs the command line in `folder`, its output appended to `log`; its process id."""
    load_what_runs_use()
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 70
    gc.freeze()  # no collection looks at, and so copies, what is the parent's
    try:
        os.setsid()
        os.chdir(folder)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)  # pytest has its own in their place
        sys.stderr = os.fdopen(2, "w", closefd=False)
        sys.argv = ["caffe-compat", *words]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)  # a fork has not the threads of its parent's pool, and would wait for them
        if before:
            before()
        status = main(words)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 71
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None is one that was closed from the start
            with suppress(OSError):
                stream.flush()
        os._exit(status)


def finish(child: int, seconds: float = 120) -> int | None:
    """Its exit status, negative for a signal; None where it did not end in time, and was killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run(words: Sequence[str], folder: Path, log: str = "log", seconds: float = 120) -> int | None:
    return finish(start(words, folder, log), seconds)


def has_traceback(log: Path) -> bool:
    return log.exists() and "Traceback (most recent call last)" in log.read_text(errors="replace")


def chosen(seed: int, count: int, many: int) -> list[int]:
    """`count` numbers of 1 .. `many`, all where there are fewer."""
    return sorted(random.Random(seed).sample(range(1, many + 1), min(count, many)))
