"""The tables of docs/performance.md: speeds of decomposed nets as recorded, and the figures of tests/benchmarks.

The figures are typed, by whoever ran the benchmarks, into tests/benchmarks/figures.tsv; whether one is met is computed.
"""

from __future__ import annotations

import ast
import csv
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from reproductions.runs import HERE, read_runs

BENCHMARKS = HERE.parent / "tests" / "benchmarks"
FIGURES = BENCHMARKS / "figures.tsv"
COMMAND = "OMP_NUM_THREADS=2 python -m pytest -m benchmark -s tests/benchmarks/{name}.py"
BOUNDS = {
    "<=": ("at most", operator.le),
    "<": ("below", operator.lt),
    ">=": ("at least", operator.ge),
    ">": ("above", operator.gt),
}
UNITS = {"times": " times", "s": " s", "share": ""}


@dataclass(frozen=True)
class Figure:
    """A row of figures.tsv. figure: None where it was not measured. wanted: a sign of BOUNDS, and the bound."""

    benchmark: str
    test: str
    what: str
    figure: float | None
    written: str  # the figure as it stands there, with its digits
    unit: str
    wanted: tuple[str, float]
    cause: str

    @property
    def verdict(self) -> str:
        """met, missed or not measured."""
        if self.figure is None:
            return "not measured"
        sign, bound = self.wanted
        return "met" if BOUNDS[sign][1](self.figure, bound) else "missed"

    def cells(self) -> tuple[str, str, str, str]:
        """What a reader sees: what it is, the figure, what was wanted, how it came out."""
        sign, bound = self.wanted
        verdict = f"**missed**; cause: {self.cause}" if self.verdict == "missed" else self.verdict
        unit = UNITS[self.unit]
        figure = "-" if self.figure is None else f"{self.written}{unit}"
        return self.what, figure, f"{BOUNDS[sign][0]} {bound:g}{unit}", verdict


def read_figures(path: Path = FIGURES) -> tuple[str, list[Figure]]:
    """The machine that the figures are of, and the figures. ValueError for a line that is none, with its number."""
    lines = path.read_text(encoding="utf-8").splitlines()
    notes = [line for line in lines if line.startswith("#")]
    machine = next(note.partition("# machine: ")[2] for note in notes if note.startswith("# machine: "))
    figures = []
    for row in csv.DictReader(lines[len(notes) :], delimiter="\t"):
        try:
            sign, bound = row["wanted"].split(" ")
            value = None if row["figure"] == "-" else float(row["figure"])
            if sign not in BOUNDS or row["unit"] not in UNITS:
                raise ValueError(f"wanted {' '.join(BOUNDS)}, units {' '.join(UNITS)}")
            figures.append(
                Figure(
                    row["benchmark"], row["test"], row["what"], value, row["figure"], row["unit"],
                    (sign, float(bound)), row["cause"] or "",
                )
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {row}: no figure ({error})") from error
    return machine, figures


def benchmarks() -> str:
    """One section a file of benchmarks: what its docstring says first, its command, its figures."""
    machine, figures = read_figures()
    parts = [f"Measured on {machine}.\n"]
    for path in sorted(BENCHMARKS.glob("test_*.py")):
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows = [figure.cells() for figure in figures if figure.benchmark == path.stem]
        parts.append(f"### {path.stem.removeprefix('test_').replace('_', ' ')}\n")
        parts.append(told.partition("\n\n")[0].replace("\n", " ") + "\n")
        parts.append(f"`{COMMAND.format(name=path.stem)}`\n")
        parts.append(markdown([("what", "figure", "wanted", ""), *rows]) if rows else "Not measured yet.\n")
    return "\n".join(parts)


def speeds() -> str:
    """One section a command that recorded speeds, with a row for each layer measured."""
    parts = []
    for (command, device), rows in groupby(_measured(), key=lambda row: row[:2]):
        parts.append(f"`{command}`, on {device}:\n")
        table = [("net, ranks", "layer", "measured", "by multiply-adds")]
        parts.append(markdown([*table, *(row[2:] for row in rows)]))
    return "\n".join(parts)


def _measured() -> list[tuple[str, str, str, str, str, str]]:
    """(command, device, net and ranks, layer, speedup, speedup by multiply-adds) of every layer timed, by command."""
    found = []
    for run in read_runs():
        threads = f", {run.threads} thread{'s' if run.threads != 1 else ''}" if run.threads else ""
        for (metric, layer), value in run.measures.items():
            if metric == "CPU speedup":
                theory = run.measures.get(("theoretical speedup", layer))
                promised = "-" if theory is None else f"{theory:.2f} times"
                device, name = f"{run.device}{threads}, commit {run.commit}", f"{run.network}: {run.method}"
                found.append((run.command, device, name, layer, f"{value:.2f} times", promised))
    return sorted(found, key=lambda row: row[:2])


def markdown(rows: Iterable[tuple[Any, ...]]) -> str:
    """Rows, the first of them the head, as a Markdown table."""
    head, *body = [f"| {' | '.join(row)} |\n" for row in rows]
    return head + "|" + "---|" * (head.count(" | ") + 1) + "\n" + "".join(body)
