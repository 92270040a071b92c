"""What the log of a run tells, as numbers: Caffe's own log, ours, or our JSON lines."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import caffe_compat as cc

log = logging.getLogger(__name__)

Row = dict[str, float]

SECTIONS = ("train", "train output", "test", "rank", "weight norm", "force norm", "angle")
_PREFIX = re.compile(r"^[IWEF](?:\d{4})?(\d{4} \d\d:\d\d:\d\d\.\d+) +\d+ \S+:\d+\] (.*)$")
_ITERATION = re.compile(r"^(?:MultiStep Status: )?Iteration (\d+)")
_LOSS = re.compile(r"^Iteration \d+(?: \(.*\))?, loss = (\S+)")
_RATE = re.compile(r"^Iteration \d+, lr = (\S+)")
_TESTING = re.compile(r"Testing net \(#(\d+)\)")
_OUTPUT = re.compile(r"^ *(Train|Test) net output #\d+: (\S+) = (\S+)")
_RANKS = re.compile(r"^ *Ranks at [\d.]+ % energy: (.*)$")


class Curves:
    """section -> iteration -> column -> value, in the order of the iterations; each section of SECTIONS may be empty.

    train: loss (as displayed: smoothed), lr. train output, test: outputs by name, those of test net k as name#k from
    the second net on; a blob of several values has the columns name[0], name[1] and so on. rank, weight norm, force
    norm, angle (mean, degrees): by layer. seconds: section -> iteration -> seconds since training began.

    A run that is resumed replaces what an earlier part of the log says of the same iterations; a run that starts anew
    replaces all.
    """

    def __init__(self) -> None:
        self.sections: dict[str, dict[int, Row]] = {name: {} for name in SECTIONS}
        self.seconds: dict[str, dict[int, float]] = {"train": {}, "test": {}}

    def add(self, section: str, iteration: int, values: Row, seconds: float | None = None) -> None:
        self.sections[section].setdefault(iteration, {}).update(values)
        if seconds is not None and section in self.seconds:
            self.seconds[section][iteration] = seconds

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]

    def rows(self, section: str) -> list[tuple[int, Row]]:
        return sorted(self.sections[section].items())

    def columns(self, section: str) -> list[str]:
        """Every column that some row of the section has, in the order in which they appeared."""
        return list(dict.fromkeys(name for _, row in self.rows(section) for name in row))

    def table(self) -> tuple[list[str], list[tuple[int, list[float | None]]]]:
        """All sections as one: columns, and (iteration, a value or None for each); "test accuracy", "rank conv1"."""
        columns = [(section, name) for section in SECTIONS for name in self.columns(section)]
        titles = [name if section == "train" else f"{section} {name}" for section, name in columns]
        iterations = sorted({iteration for rows in self.sections.values() for iteration in rows})
        return titles, [
            (iteration, [self.sections[section].get(iteration, {}).get(name) for section, name in columns])
            for iteration in iterations
        ]


def read_curves(run: str) -> Curves:
    """The curves of a log in glog's form or of JSON lines, told apart by content.

    run: the file, a snapshot_prefix that has a .jsonl, or a folder with one .jsonl in it. DataError where there is no
    such file, or nothing of a training run in it. Lines that cannot be read, as a killed run leaves them, are skipped.
    """
    path = find_log(run)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    first = next((line for line in lines if line.strip()), "")
    curves = _from_json(lines, path) if first.lstrip().startswith("{") else _from_glog(lines)
    if not any(curves.sections.values()):
        raise cc.DataError(
            f"{path}: no line of it tells of an iteration; give the log of `solve` or `caffe train`, or PREFIX.jsonl"
        )
    return curves


def find_log(run: str) -> Path:
    """The log file that `run` names."""
    path = Path(run)
    if path.is_dir():
        found = sorted(path.glob("*.jsonl"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise cc.DataError(f"{path}: wanted one .jsonl in this folder, found {names}; name the file")
        return found[0]
    for candidate in (path, Path(f"{run}.jsonl")):
        if candidate.is_file():
            return candidate
    raise cc.DataError(f"{run}: no such log, and no {run}.jsonl; give a log file or a snapshot_prefix")


def _from_json(lines: Iterable[str], path: Path) -> Curves:
    curves, torn, start = Curves(), 0, None
    for line in filter(str.strip, lines):
        try:
            event = json.loads(line)
            if event["event"] == "start" and event.get("resume", "") is None:
                curves.clear()
                start = None
            start = event["time"] if start is None else start
            _add_event(curves, event, event["time"] - start)
        except (ValueError, KeyError, TypeError, AttributeError):
            torn += 1
    if torn:
        log.warning("%s: %d lines are not whole and were skipped", path, torn)
    return curves


def _add_event(curves: Curves, event: dict[str, Any], seconds: float) -> None:
    kind, iteration = event["event"], event.get("iteration", 0)
    if kind == "step":
        row = {"loss": float(event["smoothed_loss"]), "lr": float(event["lr"])}
        curves.add("train", iteration, row, seconds)
    elif kind == "test":
        curves.add("test", iteration, _outputs(event["outputs"], event["net"]), seconds)
    elif kind == "weights":
        curves.add("weight norm", iteration, _floats(event["norms"]))
    elif kind == "ranks":
        curves.add("rank", iteration, _floats(event["ranks"]))
        curves.add("force norm", iteration, _floats(event.get("force_norms", {})))
        means = {layer: angles["mean"] for layer, angles in event.get("angles", {}).items() if angles}
        curves.add("angle", iteration, _floats(means))


def _floats(values: dict[str, Any]) -> Row:
    return {name: float(value) for name, value in values.items()}


def _outputs(outputs: dict[str, Any], net: int) -> Row:
    row: Row = {}
    for name, value in outputs.items():
        column = f"{name}#{net}" if net else name
        if isinstance(value, list):
            row.update({f"{column}[{index}]": float(item) for index, item in enumerate(value)})
        else:
            row[column] = float(value)
    return row


def _from_glog(lines: Iterable[str]) -> Curves:
    reader = _GlogReader()
    for line in lines:
        if found := _PREFIX.match(line):
            reader.read(found[2], datetime.strptime(f"2000{found[1]}", "%Y%m%d %H:%M:%S.%f"))
    return reader.curves


class _GlogReader:
    """Goes through the messages of a log; knows which iteration, and which test net, the lines of outputs are of."""

    def __init__(self) -> None:
        self.curves = Curves()
        self.iteration, self.net = -1, 0
        self.start: datetime | None = None
        self.anew, self.resumed = False, False
        self.seen: dict[str, int] = {}  # how many values of an output this iteration has shown

    def read(self, message: str, moment: datetime) -> None:
        if message.startswith("Solving "):
            self.start, self.anew = moment, True
        elif message.startswith("Resuming from "):
            self.resumed = True
        elif found := _ITERATION.match(message):
            self._enter(int(found[1]))
            self._read_iteration(message, moment)
        elif self.iteration >= 0:
            self._read_values(message, moment)

    def _enter(self, iteration: int) -> None:
        if self.anew and not self.resumed:
            self.curves.clear()
        self.anew = self.resumed = False
        self.iteration, self.seen = iteration, {}

    def _read_iteration(self, message: str, moment: datetime) -> None:
        for column, form in (("loss", _LOSS), ("lr", _RATE)):
            if (found := form.match(message)) and (value := _value(found[1])) is not None:
                self.curves.add("train", self.iteration, {column: value}, self._seconds(moment))
        if found := _TESTING.search(message):
            self.net = int(found[1])

    def _read_values(self, message: str, moment: datetime) -> None:
        if (found := _OUTPUT.match(message)) and (value := _value(found[3])) is not None:
            section = "test" if found[1] == "Test" else "train output"
            column = f"{found[2]}#{self.net}" if section == "test" and self.net else found[2]
            self._add_output(section, column, value, self._seconds(moment))
        elif found := _RANKS.match(message):
            pairs = (part.rsplit(" ", 1) for part in found[1].split(", "))
            self.curves.add("rank", self.iteration, {layer: float(rank.split("/")[0]) for layer, rank in pairs})

    def _add_output(self, section: str, column: str, value: float, seconds: float) -> None:
        """A second value of one output makes the columns name[0] and name[1]."""
        count = self.seen.get(column, 0)
        self.seen[column] = count + 1
        row = self.curves.sections[section].get(self.iteration, {})
        if count == 1:
            row[f"{column}[0]"] = row.pop(column)
        self.curves.add(section, self.iteration, {f"{column}[{count}]" if count else column: value}, seconds)

    def _seconds(self, moment: datetime) -> float:
        if self.start is None:
            self.start = moment
        passed = (moment - self.start).total_seconds()
        return passed if passed >= 0 else passed + 366 * 24 * 3600  # the year turned: glog's times have none


def _value(text: str) -> float | None:
    """A number as a C++ stream prints it, nan and inf too."""
    try:
        return float(text)
    except ValueError:
        return None
