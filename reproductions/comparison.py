"""The paper's numbers beside ours: which runs answer which row of paper.csv, and by how much they differ."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproductions.runs import HERE, Run

SLACK = 0.1  # points of error above the baseline's that still count as no loss
# What a training run gives in any case; other metrics are measured apart from it.
OF_TRAINING = ("error", "top-1 error", "top-5 error", "rank", "full rank", "average rank ratio", "rank ratio")
BASELINES = (" none", "(baseline)")  # how the rows of baselines end in paper.csv


@dataclass(frozen=True)
class Published:
    """One number of the paper. unit: percent, share, filters, times ...; read_from: print, restored, digitised ..."""

    source: str
    row: str
    metric: str
    layer: str
    value: float
    unit: str
    read_from: str

    @property
    def name(self) -> str:
        """What is measured, in a word or two."""
        return f"{self.metric}, {self.layer}" if self.layer else self.metric


@dataclass(frozen=True)
class Ours:
    """Mean of the runs that differ in their seeds alone, their sample standard deviation, and how many they are."""

    value: float
    spread: float
    count: int


@dataclass(frozen=True)
class Group:
    """Finished and unfinished runs that differ in nothing but their seeds."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.finished[0] if self.finished else self.runs[0]

    @property
    def finished(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "finished")

    def mean(self, read: Callable[[Run], float | None]) -> Ours | None:
        """What `read` gives for the finished runs; None where it gives nothing."""
        values = [value for value in map(read, self.finished) if value is not None]
        if not values:
            return None
        return Ours(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


@dataclass(frozen=True)
class Cell:
    """A published number and ours, from the runs `group`; both None where there is none.

    unfinished: no run has it yet, and one that will have it is unfinished.
    """

    published: Published
    ours: Ours | None
    group: Group | None = None
    unfinished: bool = False

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in the paper's unit."""
        return None if self.ours is None else self.ours.value - self.published.value


@dataclass(frozen=True)
class Line:
    """One row of a table of the paper: its numbers, and the runs that answer it, the first first asked."""

    row: str
    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]


def read_paper(path: Path = HERE / "paper.csv") -> list[Published]:
    """The paper's numbers, in its order."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        facts: list[dict[str, Any]] = [
            {name: float(text) if name == "value" else text for name, text in row.items()} for row in rows
        ]
    return [Published(**each) for each in facts]


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Runs that differ in their seeds alone together, in the order of the first of each."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        key = run.network, run.experiment, run.method, run.force_decay, run.iterations
        found.setdefault(key, []).append(run)
    return [Group(tuple(each)) for each in found.values()]


def compare(paper: Sequence[Published], runs: Sequence[Run]) -> dict[str, list[Line]]:
    """{table or figure: its rows}, every number of the paper with ours."""
    groups = grouped(runs)
    tables: dict[str, list[Line]] = {}
    for source, row in dict.fromkeys((each.source, each.row) for each in paper):
        numbers = [each for each in paper if (each.source, each.row) == (source, row)]
        answers = answering(source, row, groups, published_ratio(numbers))
        cells = tuple(cell(each, answers) for each in numbers)
        used = tuple(group for group in answers if not group.finished or any(each.group is group for each in cells))
        tables.setdefault(source, []).append(Line(row, cells, used))
    return tables


def answering(source: str, row: str, groups: Sequence[Group], wanted: float | None = None) -> list[Group]:
    """The runs that answer a row of the paper, the best first; wanted: its average rank ratio, if it has one.

    First those whose ratio is at most `wanted`, then the others, then those without finished runs. Of each, those whose
    error is at most SLACK above the baseline's come first, by their ratio, and then the rest by their error.
    """
    named = [group for group in groups if f"{source}: {row}" in group.first.paper]

    def order(group: Group) -> tuple[bool, bool, bool, float]:
        loss = error_above_baseline(group, groups, source)
        near = loss is not None and loss <= SLACK
        high = wanted is not None and ratio(group) > wanted
        return not group.finished, high, not near, ratio(group) if near else error(group)

    return sorted(named, key=order)


def published_ratio(numbers: Sequence[Published]) -> float | None:
    """The average rank ratio of one row of the paper, in percent; None where it has no ranks."""
    values = {(each.metric, each.layer): each.value for each in numbers}
    full = {layer: value for (metric, layer), value in values.items() if metric == "full rank"}
    shares = [values["rank", layer] / value for layer, value in full.items() if ("rank", layer) in values]
    return round(100 * statistics.mean(shares), 2) if shares else None


def error_above_baseline(group: Group, groups: Iterable[Group], source: str = "") -> float | None:
    """Points of error above the baseline that the runs name, else above the lowest baseline of a table `source`."""
    errors = [error(each) for each in groups if is_baseline_of(each.first, group.first, source)]
    lowest = min(errors, default=float("inf"))
    return None if lowest == float("inf") else round(error(group) - lowest, 6)


def is_baseline_of(run: Run, other: Run, source: str) -> bool:
    """Whether `run` is the baseline that `other` names; where that names none, a baseline of `source`."""
    if other.baseline:
        return run.network == other.network and f"{run.experiment}: {run.method}" == other.baseline
    return any(is_baseline(source, name) for name in run.paper)


def baseline_error(source: str, groups: Sequence[Group]) -> float | None:
    """The lowest mean error of the runs that answer a row of `source` without force."""
    errors = [error(group) for group in groups if any(is_baseline(source, name) for name in group.first.paper)]
    return min(errors, default=None)


def is_baseline(source: str, name: str) -> bool:
    return name.startswith(f"{source}: ") and name.endswith(BASELINES)


def error(group: Group) -> float:
    found = group.mean(lambda run: run.error)
    return found.value if found else float("inf")


def ratio(group: Group) -> float:
    found = group.mean(lambda run: run.average_rank_ratio)
    return found.value if found else float("inf")


def cell(published: Published, answers: Sequence[Group]) -> Cell:
    """The number of the first runs that have it."""
    for group in answers:
        ours = group.mean(lambda run: measured(run, published.metric, published.layer, published.unit))
        if ours is not None:
            return Cell(published, ours, group)
    trained = published.metric in OF_TRAINING and any(not group.finished for group in answers)
    return Cell(published, None, unfinished=trained)


def measured(run: Run, metric: str, layer: str, unit: str) -> float | None:
    """What `run` has for a metric of the paper, in its unit; None where it has nothing."""
    if metric in ("error", "top-1 error"):
        return scaled(run.error, unit)
    if metric == "top-5 error":
        return scaled(run.top5_error, unit)
    if metric == "average rank ratio":
        return scaled(run.average_rank_ratio, unit)
    if metric in ("rank", "full rank", "rank ratio"):
        pair = rank_of(run, layer)
        if pair is None:
            return None
        return {"rank": pair[0], "full rank": pair[1], "rank ratio": scaled(100 * pair[0] / pair[1], unit)}[metric]
    return run.measures.get((metric, layer))


def scaled(percent: float | None, unit: str) -> float | None:
    """A number in percent as the paper's unit has it."""
    return percent / 100 if percent is not None and unit == "share" else percent


def rank_of(run: Run, layer: str) -> tuple[int, int] | None:
    """Rank and full rank of a layer; "convolution 3" is the third of them."""
    word, _, place = layer.partition(" ")
    if word == "convolution" and place.isdigit():
        pairs = list(run.ranks.values())
        return pairs[int(place) - 1] if int(place) <= len(pairs) else None
    return run.ranks.get(layer)
