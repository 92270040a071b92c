"""Run readers on hostile files in a process of little memory: python -m tests.fuzz.limited JOBS.json.

JOBS.json: [[name, action, path], ...]. Printed: {name: [seconds of computing, type of the error, its
message, bytes of memory]}.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.data.databases import open_database
from caffe_compat.data.datum import corrupt, parse_datum
from caffe_compat.data.hdf5 import HDF5Batches
from caffe_compat.proto import binary, hdf5

_MEMORY = 1 << 30  # beyond what the program itself has
_SECONDS = 20  # of computing, then the process is killed; the test asks for less


def read_database(path: str) -> None:
    """Every record of an LMDB, as far as a data layer takes it apart."""
    database = open_database(Path(path))
    for number, record in enumerate(database.records()):
        try:
            parse_datum(record).array()
        except ValueError as error:
            raise corrupt(path, number, error) from error


ACTIONS: dict[str, Callable[[str], Any]] = {
    "model": cc.read_model,
    "weights": cc.read_weights,
    "net": lambda path: cc.Net(cc.read_model(path)),
    "solver": cc.read_solver,
    "state": binary.read_solver_state,
    "state_h5": hdf5.read_solver_state,
    "blob": cc.read_blob,
    "database": read_database,
    "data_h5": lambda path: HDF5Batches([Path(path)], ["data"], 1).read(0),
}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    cc.Net(cc.parse_text('layer { name: "x" type: "Input" top: "x" input_param { shape { } } }', cc.NetParameter))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    found = {}
    for name, action, path in json.loads(Path(sys.argv[1]).read_text()):
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)
        start, before = time.process_time(), peak_bytes()
        kind = message = ""
        try:
            ACTIONS[action](path)
        except Exception as error:
            kind = "CaffeCompatError" if isinstance(error, cc.CaffeCompatError) else type(error).__name__
            message = str(error)
        found[name] = [time.process_time() - start, kind, message, peak_bytes() - before]
    print(json.dumps(found))


main()
