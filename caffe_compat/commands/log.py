"""Show how a training run went: loss, learning rate, test outputs, ranks and norms over the iterations.

RUN is the log of `caffe-compat solve`, of `caffe train` or `caffe test` (of any fork), the JSON lines beside the
snapshots (PREFIX.jsonl), or PREFIX itself. Of several runs in it the last is shown, behind those that it goes on from.
FOLDER, if given, gets RUN.train and RUN.test, the CSV files of Caffe's parse_log.py; unlike there, each row has the
learning rate of its own iteration, and nan and inf are rows like any other.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.curves import Curves
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.runs import Told, find_log, read_run
from caffe_compat.commands.targets import add_force_overwrite, check_targets

TITLES = {
    "rank": "ranks at 95 % energy",
    "weight norm": "weight norms",
    "force norm": "force norms, before force_decay and force_mult",
    "angle": "mean angles between filters, degrees",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a log, a .jsonl, or a snapshot_prefix")
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="write RUN.train and RUN.test here")
    parser.add_argument("--delimiter", default=",", metavar="C", help="between the columns of files (default: comma)")
    parser.add_argument("--csv", metavar="FILE", help="write everything into one CSV file")
    parser.add_argument("--plot", metavar="FILE", help="draw the curves: .png, .pdf, .svg")
    parser.add_argument(
        "--nth", type=whole_number(), metavar="N", help="of several runs in RUN the Nth, from 1; default the last"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--verbose", action="store_true", help="print the tables even when files are written")
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    path = find_log(arguments.run)
    parsed = [Path(arguments.folder, f"{path.name}.{part}") for part in ("train", "test")] if arguments.folder else []
    check_targets([*parsed, arguments.csv, arguments.plot], [path], arguments.force_overwrite)
    told = read_run(arguments.run, arguments.nth)
    curves = told.curves
    written: list[Path] = []
    if len(arguments.delimiter) != 1:
        raise cc.DataError(f"--delimiter '{arguments.delimiter}': wanted one character")
    with cc.all_or_none():
        if arguments.folder:
            written += write_parsed(curves, Path(arguments.folder), path.name, arguments.delimiter)
        if arguments.csv:
            written.append(_write(Path(arguments.csv), *_merged(curves), arguments.delimiter))
        if arguments.plot:
            from caffe_compat.commands.plots import plot_curves

            written.append(plot_curves(curves, Path(arguments.plot), title=arguments.run))
    if arguments.json:
        print(as_json(told))
    elif not written or arguments.verbose:
        print("\n\n".join(tables(curves)))
    for path in written:
        print(f"Wrote {path}", file=sys.stderr if arguments.json else sys.stdout)
    warn(told)
    return 0


def as_json(told: Told) -> str:
    """One object: section -> iteration -> column -> value; numbers that JSON has no word for as strings."""
    sections = {
        section: {str(iteration): {name: _sayable(value) for name, value in row.items()} for iteration, row in rows}
        for section in told.curves.sections
        if (rows := told.curves.rows(section))
    }
    return json.dumps(
        {"path": str(told.path), "runs": told.numbers, "of": told.count, "ended": told.failure, **sections}
    )


def _sayable(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def warn(told: Told) -> None:
    """Say on stderr which of several runs this was, what ended it, and what could not be read."""
    sys.stdout.flush()
    if told.torn:
        print(f"{told.path}: {told.torn} lines are not whole and were skipped", file=sys.stderr)
    if told.note:
        print(told.note, file=sys.stderr)
    if told.failure:
        print(f"{told.path}: the run ended with: {told.failure}", file=sys.stderr)


def tables(curves: Curves) -> Iterable[str]:
    """The curves as text: one table of losses, rates and test outputs, then one for each thing told of layers."""
    names = ("train", "test")
    columns = [(section, column) for section in names for column in curves.columns(section)]
    if curves.sections["batch"]:
        batches = curves.columns("batch")
        yield _table(batches, curves.across(("batch", column) for column in batches), "batch")
        means = [f"{name} = {value:g}" for _, row in curves.rows("test") for name, value in row.items()]
        yield f"means: {', '.join(means)}"
    elif columns:
        titles = [column if section == "train" else f"test {column}" for section, column in columns]
        yield _table(titles, curves.across(columns))
    for section, title in TITLES.items():
        layers = curves.columns(section)
        if layers:
            yield f"{title}\n{_table(layers, [(i, [row.get(la) for la in layers]) for i, row in curves.rows(section)])}"


def write_parsed(curves: Curves, folder: Path, name: str, delimiter: str) -> list[Path]:
    """NAME.train and NAME.test in `folder`: NumIters, Seconds, LearningRate, then the outputs, as parse_log.py."""
    if not folder.is_dir():
        raise cc.DataError(f"there is no folder '{folder}' to write {name}.train and {name}.test to; make it first")
    rates = {iteration: row["lr"] for iteration, row in curves.rows("train") if "lr" in row}
    outputs = "train output" if curves.sections["train output"] else "train"
    written = []
    for suffix, section in (("train", outputs), ("test", "test")):
        columns = [column for column in curves.columns(section) if section != "train" or column != "lr"]
        times = curves.seconds[suffix]
        rows = [
            [iteration, times.get(iteration), _rate_at(rates, iteration), *(row.get(column) for column in columns)]
            for iteration, row in curves.rows(section)
            if any(column in row for column in columns)
        ]
        header = ["NumIters", "Seconds", "LearningRate", *columns]
        written.append(_write(folder / f"{name}.{suffix}", header, rows, delimiter))
    return written


def _rate_at(rates: dict[int, float], iteration: int) -> float | None:
    """The rate of this iteration, else the last one told before it, else the first one told."""
    before = [known for known in rates if known <= iteration]
    return rates[max(before)] if before else next(iter(rates.values()), None)


def _merged(curves: Curves) -> tuple[list[str], list[list[float | None]]]:
    titles, rows = curves.table()
    return ["iteration", *titles], [[iteration, *values] for iteration, values in rows]


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[float | None]], delimiter: str) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if value is None else value for value in row] for row in rows])
    with cc.write_atomically(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return path


def _table(titles: Sequence[str], rows: Sequence[tuple[int, Sequence[float | None]]], first: str = "iteration") -> str:
    """Right-aligned columns under their titles; a dash where an iteration does not tell a value."""
    cells = [[first, *titles]]
    cells += [[str(i), *("-" if value is None else f"{value:g}" for value in values)] for i, values in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
