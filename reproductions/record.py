"""Results of ours as files: what was measured, by which command, on what.

A training run or a measurement is a row of results/NETWORK.csv (`record_run`; reproductions/runs.py says what the
columns are). Recording it again replaces its row. Several processes may record: each takes a lock, and the file is
replaced whole. `keep_log` copies a whole log into logs/, compressed above 200 kB. What has no such form is a
results/NAME.json (`write_result`).
"""

from __future__ import annotations

import fcntl
import gzip
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import caffe_compat as cc
from reproductions.runs import HERE, RESULTS, Run, format_runs, read_file

LOGS = HERE / "logs"
LARGE = 200_000  # bytes above which a log is kept compressed


def record_run(run: Run, device: str = "cpu", folder: Path = RESULTS) -> Run:
    """Put `run` into folder/NETWORK.csv, in place of the row of the same key or after all others; the filled-in row.

    device: "cpu" or "cuda", where it was computed. Raises ValueError where the file has other columns.
    """
    run = filled_in(run, device)
    path = folder / f"{run.network}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        rows = {each.key: each for each in read_file(path)} | {run.key: run}
        with cc.write_atomically(path) as part:
            part.write_text(format_runs(rows.values()), encoding="utf-8")
    return run


def forget_runs(network: str, command: str, folder: Path = RESULTS) -> None:
    """Remove the rows of folder/NETWORK.csv whose command begins with `command`."""
    path = folder / f"{network}.csv"
    if path.exists():
        with locked(path):
            rows = [run for run in read_file(path) if not run.command.startswith(command)]
            with cc.write_atomically(path) as part:
                part.write_text(format_runs(rows), encoding="utf-8")


def forget_renamed(run: Run, folder: Path = RESULTS) -> None:
    """Remove rows of the same command and another key: a step had another strength, say, when it was recorded."""
    path = folder / f"{run.network}.csv"
    if path.exists():
        with locked(path):
            rows = [each for each in read_file(path) if each.command != run.command or each.key == run.key]
            with cc.write_atomically(path) as part:
                part.write_text(format_runs(rows), encoding="utf-8")


def filled_in(run: Run, device: str = "cpu") -> Run:
    """`run` with the facts of this process, and the average of its ranks, where it leaves them empty.

    An unfinished run was computed nowhere yet, and stays as it is.
    """
    if run.status == "unfinished":
        return run
    shares = [rank / full for rank, full in run.ranks.values()]
    facts: dict[str, Any] = {
        "average_rank_ratio": round(100 * sum(shares) / len(shares), 2) if shares else None,
        "device": processor() if device == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "caffe_compat": cc.__version__,
    }
    return replace(run, **{name: fact for name, fact in facts.items() if getattr(run, name) in ("", None)})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time is inside for `path`; the lock goes with the process."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep_log(source: Path, name: str, folder: Path = LOGS) -> str:
    """Copy a whole log to folder/NAME, or NAME.gz where it is large; its path within reproductions/, for `Run.log`."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / name, folder / f"{name}.gz"):
        old.unlink(missing_ok=True)
    kept = folder / name
    if source.stat().st_size > LARGE:
        kept = folder / f"{name}.gz"
        # Without a time stamp the same log gives the same bytes.
        kept.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    else:
        shutil.copyfile(source, kept)
    return f"{folder.name}/{kept.name}"


def write_result(name: str, command: str, rows: list[dict[str, Any]]) -> Path:
    """Write results/NAME.json: `rows`, the command, the commit, the versions, the device and its threads."""
    facts = {
        "command": command,
        "commit": commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "caffe_compat": cc.__version__},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def read_result(name: str) -> dict[str, Any]:
    """What `write_result` wrote."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def commit() -> str:
    """The commit that the code stands at, "unknown" outside a clone."""
    command = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's model where the system tells it, else its architecture."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()
