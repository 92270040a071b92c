"""Curves: what a run tells over its iterations, as numbers; Run: one run of a log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

Row = dict[str, float]

SECTIONS = ("train", "train output", "test", "batch", "rank", "weight norm", "force norm", "angle")


class Curves:
    """section -> iteration -> column -> value, in the order of the iterations; each section of SECTIONS may be empty.

    train: loss (as displayed: smoothed), lr. train output, test: outputs by name, those of test net k as name#k from
    the second net on; a blob of several values has the columns name[0], name[1] and so on. batch: of a log of
    `caffe test`, the outputs of each batch, whose means are then in test at iteration 0. rank, weight norm, force norm,
    angle (mean, degrees): by layer. seconds: section -> iteration -> the moment, in seconds since training began.
    """

    def __init__(self) -> None:
        self.sections: dict[str, dict[int, Row]] = {name: {} for name in SECTIONS}
        self.seconds: dict[str, dict[int, float]] = {"train": {}, "test": {}}

    def __bool__(self) -> bool:
        return any(self.sections.values())

    def add(self, section: str, iteration: int, values: Row, seconds: float | None = None) -> None:
        self.sections[section].setdefault(iteration, {}).update(values)
        if seconds is not None and section in self.seconds:
            self.seconds[section][iteration] = seconds

    def add_value(
        self, section: str, iteration: int, column: str, value: float, count: int, moment: float | None
    ) -> None:
        """The value number `count`, from 0, of one output; a second one makes the columns name[0] and name[1]."""
        row = self.sections[section].get(iteration, {})
        if count == 1:
            row[f"{column}[0]"] = row.pop(column)
        self.add(section, iteration, {f"{column}[{count}]" if count else column: value}, moment)

    def follow(self, later: Curves, iteration: int) -> None:
        """Go on as `later` does, which was resumed at `iteration`: it replaces what is told from there on."""
        for mine, more in ((self.sections, later.sections), (self.seconds, later.seconds)):
            for name, rows in more.items():
                kept = {i: row for i, row in mine[name].items() if i <= iteration}
                mine[name] = {**kept, **rows}  # type: ignore[dict-item]

    def rows(self, section: str) -> list[tuple[int, Row]]:
        return sorted(self.sections[section].items())

    def columns(self, section: str) -> list[str]:
        """Every column that some row of the section has, in the order in which they appeared."""
        return list(dict.fromkeys(name for _, row in self.rows(section) for name in row))

    def table(self) -> tuple[list[str], list[tuple[int, list[float | None]]]]:
        """All sections as one: columns, and (iteration, a value or None for each); "test accuracy", "rank conv1"."""
        columns = [(section, name) for section in SECTIONS for name in self.columns(section)]
        titles = [name if section == "train" else f"{section} {name}" for section, name in columns]
        return titles, self.across(columns)

    def across(self, columns: Iterable[tuple[str, str]]) -> list[tuple[int, list[float | None]]]:
        """(iteration, a value or None for each (section, column) of `columns`), for every iteration that has one."""
        columns = list(columns)
        iterations = sorted({i for section in {section for section, _ in columns} for i in self.sections[section]})
        return [
            (iteration, [self.sections[section].get(iteration, {}).get(name) for section, name in columns])
            for iteration in iterations
        ]


@dataclass
class Run:
    """One run: its curves, with moments instead of seconds since the beginning.

    resume: the snapshot that it was started from, if it says so. snapshots: those that it wrote, and their iterations.
    began: the moment at which training began. failure: what ended it, if it says so. torn: lines that are not whole.
    """

    curves: Curves = field(default_factory=Curves)
    resume: str | None = None
    snapshots: dict[str, int] = field(default_factory=dict)
    began: float | None = None
    failure: str = ""
    torn: int = 0


def iteration_of(snapshot: str) -> int | None:
    """The iteration that the name of a snapshot tells."""
    found = re.search(r"_iter_(\d+)\.", snapshot)
    return int(found[1]) if found else None
