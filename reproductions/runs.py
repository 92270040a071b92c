"""One row a run: what results/NETWORK.csv holds, with the columns of `COLUMNS` in that order.

| column | meaning |
|---|---|
| network | the folder of reproductions/ that the run belongs to, and the name of the file |
| experiment | what the run is part of: baseline, sweep, final, decompose, rivals ... |
| method | baseline, l1, l2, l2 discrimination, nuclear ...: what differs between the runs of an experiment |
| force_decay | strength of the force, or of the rival's term; 0 where there is none |
| seed | random_seed of the solver; empty where nothing is drawn |
| iterations | iterations that the run is meant to have in all, 0 where nothing is trained |
| status | finished, or unfinished |
| finish | the command that finishes an unfinished run; empty for a finished one |
| error, top5_error | top-1 and top-5 error on the test data, percent |
| average_rank_ratio | mean over `ranks` of rank / full rank, percent; filled in from `ranks` |
| multiply_adds, parameters | of one image, and of the net: of the decomposed net where one was made |
| ranks | `conv1=17/32; conv2=27/32`: ranks at 5 % PCA error (or those given) of all filters |
| measures | every other number: `CPU speedup@conv3=1.78; fine-tuned error=18.3` (metric, @layer where it has one) |
| seconds | time that the run took, tests included |
| device, threads | what computed it, and torch's threads |
| commit, command | the commit of the code, and the command that makes this row |
| python, torch, caffe_compat | versions |
| log | the whole log, as a path in reproductions/: logs/NAME.log, .jsonl, or one of these with .gz |
| paper | rows of paper.csv that the run answers: `Table 2: ConvNet l2; Table 1: ConvNet scaler |W|` |
| baseline | experiment and method, `sweep: none`, of the runs without force to compare with; see `Step` in steps.py |
| note | what a reader must know: a shortened schedule, say |

A number that was not measured is empty. Within its file a run is known by `Run.key`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STATUSES = ("finished", "unfinished")


@dataclass(frozen=True)
class Run:
    """One row; the module's docstring says what every field means.

    ranks: layer -> (rank, full rank). measures: (metric, layer or "") -> number. paper: "SOURCE: ROW" of paper.csv.
    """

    network: str
    experiment: str
    method: str
    force_decay: float = 0.0
    seed: int | None = None
    iterations: int = 0
    status: str = "finished"
    finish: str = ""
    error: float | None = None
    top5_error: float | None = None
    average_rank_ratio: float | None = None
    multiply_adds: int | None = None
    parameters: int | None = None
    ranks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    measures: Mapping[tuple[str, str], float] = field(default_factory=dict)
    seconds: float | None = None
    device: str = ""
    threads: int | None = None
    commit: str = ""
    command: str = ""
    python: str = ""
    torch: str = ""
    caffe_compat: str = ""
    log: str = ""
    paper: tuple[str, ...] = ()
    baseline: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")
        if (self.status == "unfinished") != bool(self.finish):
            raise ValueError(f"run {self.key}: an unfinished run, and no other, has the command that finishes it")

    @property
    def key(self) -> tuple[str, str, float, int | None, int]:
        """What the run is known by: experiment, method, force_decay, seed, iterations."""
        return self.experiment, self.method, self.force_decay, self.seed, self.iterations


COLUMNS = tuple(each.name for each in fields(Run))


def read_runs(network: str | None = None, folder: Path = RESULTS) -> list[Run]:
    """The rows of one network, or of all networks in the order of their files' names."""
    paths = [folder / f"{network}.csv"] if network else sorted(folder.glob("*.csv"))
    return [run for path in paths for run in read_file(path)]


def read_file(path: Path) -> list[Run]:
    """The rows of one file; none where it is missing. Raises ValueError with the line for other columns or values."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: columns are {reader.fieldnames}, wanted {list(COLUMNS)}")
        runs = []
        for row in reader:
            try:
                runs.append(Run(**{name: READERS.get(name, str)(text) for name, text in row.items()}))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}:{reader.line_num}: {error}") from error
    return runs


def read_log(path: str, root: Path = HERE) -> str:
    """The text of a log that `record.keep_log` kept, by its path in reproductions/."""
    data = (root / path).read_bytes()
    return (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8")


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON lines of a run; a line that a stop cut short is passed over."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def format_runs(runs: Iterable[Run]) -> str:
    """The text of a file of these rows, in the order given."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        writer.writerow([WRITERS.get(name, plain)(getattr(run, name)) for name in COLUMNS])
    return stream.getvalue()


def plain(value: Any) -> str:
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def write_ranks(ranks: Mapping[str, tuple[int, int]]) -> str:
    return "; ".join(f"{layer}={rank}/{full}" for layer, (rank, full) in ranks.items())


def read_ranks(text: str) -> dict[str, tuple[int, int]]:
    found = {}
    for entry in filter(None, text.split("; ")):
        layer, _, share = entry.rpartition("=")
        rank, _, full = share.partition("/")
        found[layer] = (int(rank), int(full))
    return found


def write_measures(measures: Mapping[tuple[str, str], float]) -> str:
    names = [(f"{metric}@{layer}" if layer else metric, value) for (metric, layer), value in measures.items()]
    return "; ".join(f"{name}={value:.6g}" for name, value in names)


def read_measures(text: str) -> dict[tuple[str, str], float]:
    found = {}
    for entry in filter(None, text.split("; ")):
        name, _, value = entry.rpartition("=")
        metric, _, layer = name.partition("@")
        found[metric, layer] = float(value)
    return found


def whole(text: str) -> int | None:
    return int(text) if text else None


def real(text: str) -> float | None:
    return float(text) if text else None


READERS: dict[str, Any] = {
    "force_decay": float,
    "seed": whole,
    "iterations": int,
    "error": real,
    "top5_error": real,
    "average_rank_ratio": real,
    "multiply_adds": whole,
    "parameters": whole,
    "ranks": read_ranks,
    "measures": read_measures,
    "seconds": real,
    "threads": whole,
    "paper": lambda text: tuple(filter(None, text.split("; "))),
}
WRITERS: dict[str, Any] = {"ranks": write_ranks, "measures": write_measures, "paper": "; ".join}
