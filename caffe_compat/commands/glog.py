"""The runs in a log of `caffe train` or `caffe test`, of whatever fork, or in ours of that form.

A line is glog's prefix and the message (Caffe's solver.cpp, sgd_solver.cpp, caffe.cpp). Whatever a terminal, mpirun or
a paste put before the prefix is passed over, and of several processes that write into one log the first counts. NVCaffe
0.17 has [rank.device] before its messages; the words of other forks stand between an iteration and its loss.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from caffe_compat.commands.curves import Run, iteration_of

_PREFIX = re.compile(
    r"(?P<before>.*?)\b(?P<letter>[IWEF])?(?:\d{4})?(?P<moment>\d{4} \d\d:\d\d:\d\d\.\d+) +(?P<thread>\d+) "
    r"\S+:\d+\] ?(?P<message>.*)"
)
_RANK = re.compile(r"^\s*\[(\d+)(?:[.,]\d+)?\](?:<std(?:out|err)>:?)? ?|^\s*(\d{1,4}): ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ITERATION = re.compile(r"^(?:MultiStep Status: )?Iteration (\d{1,10})\b")
_LOSS, _RATE = re.compile(r", loss = ([^\s,]+)"), re.compile(r", lr = ([^\s,]+)")
_TESTING = re.compile(r"Testing net(?: \(#(\d+)\))?")
_VALUE = r" = (\S+?)(?: \(\* \S+ = \S+ loss\))?\s*$"
_OUTPUT = re.compile(r"^\s*(Train|Test) net output #\d+: (.+)" + _VALUE)
_SCORE = re.compile(r"^\s*Test (score #\d+|loss): (\S+)\s*$")
_BATCH, _MEAN = re.compile(r"^Batch (\d+), (.+)" + _VALUE), re.compile(r"^(.+)" + _VALUE)
_RANKS = re.compile(r"^ *Ranks at [\d.]+ % energy: (.*)$")
_SNAPSHOT = re.compile(r"Snapshotting solver state to (?:binary proto file |HDF5 file )?(\S.*?)\s*$")
_RESUME = re.compile(r"^(?:Resuming from|Restoring previous solver status from) (\S.*?)\s*$")
_SAYING = re.compile(
    r"^\s*(?:\[[\d.]+\]\s*)?(?:MultiStep Status: )?"
    r"(?:Iteration \d|(?:Train|Test) net output #|Test (?:score|loss)|Batch \d+, |Solving |Resuming from |"
    r"Restoring previous|Snapshotting|Running for \d+ iterations|Loss: |Check failed|Ranks at )"
)
_WORDS = {"1.#QNAN": "nan", "1.#IND": "nan", "1.#INF": "inf", "nan(ind)": "nan", "nan(snan)": "nan"}  # as MSVC prints


@dataclass(frozen=True)
class Line:
    """A message, with the process and thread that wrote it, its letter (I, W, E, F), and its moment in seconds."""

    message: str
    rank: int | None
    thread: str
    letter: str
    moment: float | None


def read_runs(lines: Iterable[str]) -> list[Run]:
    """Every run in `lines`. One begins where training is said to, or goes back to iteration 0."""
    reader = _Reader()
    for line in _of_one_process(filter(None, map(_parsed, lines))):
        reader.read(line)
    return reader.runs


def _parsed(text: str) -> Line | None:
    """The line that `text` is; None where it is no line of the log."""
    text = _COLOUR.sub("", text)
    if text.startswith("caffe-compat: "):
        return Line(text.removeprefix("caffe-compat: "), None, "", "F", None)
    found = _PREFIX.match(text)
    before, message = (found["before"], found["message"]) if found else ("", text)
    rank = _RANK.match(before) or _RANK.match(message)
    message = _RANK.sub("", message, count=1) if _RANK.match(message) else message
    if found is None:
        if not _SAYING.match(message):
            return None
        return Line(message.strip(), _number(rank), "", "I", None)
    try:
        moment = datetime.strptime(f"2000{found['moment']}", "%Y%m%d %H:%M:%S.%f") - datetime(2000, 1, 1)
    except ValueError:
        return None
    return Line(message.strip(), _number(rank), found["thread"], found["letter"] or "I", moment.total_seconds())


def _number(rank: re.Match[str] | None) -> int | None:
    return int(rank[1] or rank[2]) if rank else None


def _of_one_process(lines: Iterable[Line]) -> Iterator[Line]:
    """Those of `lines` that the first of several processes wrote; all, where there is one."""
    lines = list(lines)
    ranks = {line.rank for line in lines if line.rank is not None and _ITERATION.match(line.message)}
    chosen = min(ranks, default=None)
    of_thread: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        if line.rank is not None:
            of_thread[line.thread].add(line.rank)
    for line in lines:
        known = {line.rank} if line.rank is not None else of_thread[line.thread] if line.thread else set()
        if chosen is None or not known or chosen in known:
            yield line


class _Reader:
    """Goes through the messages of a log; knows which iteration, and which test net, the lines of outputs are of."""

    def __init__(self) -> None:
        self.runs = [Run()]
        self.iteration, self.net = -1, 0
        self.begun, self.resume = False, ""  # since the last iteration that was told of
        self.began: float | None = None
        self.testing = False  # within a log of `caffe test`
        self.seen: dict[str, int] = {}  # how many values of an output this iteration has shown

    def read(self, line: Line) -> None:
        message, run = line.message, self.runs[-1]
        if message.startswith("Solving "):
            self.begun, self.began = True, line.moment
        elif found := _RESUME.match(message):
            self.resume = found[1]
            self.begun = self.begun or bool(run.curves)
        elif found := _SNAPSHOT.search(message):
            iteration = iteration_of(found[1])
            run.snapshots[found[1]] = max(self.iteration, 0) if iteration is None else iteration
        elif line.letter == "F" or message.startswith("Check failed"):
            self._fail(message)
        elif message.startswith("Running for ") and message.rstrip(".").endswith("iterations"):
            self._begin(Run(began=line.moment))
            self.testing = True
        elif found := _ITERATION.match(message):
            self._enter(int(found[1]), line)
            self._read_iteration(message, line)
        elif self.testing:
            self._read_batch(message, line)
        elif self.iteration >= 0:
            self._read_values(message, line)

    def _fail(self, message: str) -> None:
        """Keep what ended the run, which may have come to no iteration."""
        if self.begun:
            self._begin(Run(began=self.began, resume=self.resume or None))
        self.runs[-1].failure = self.runs[-1].failure or message

    def _enter(self, iteration: int, line: Line) -> None:
        if self.begun or self.testing or (iteration == 0 and self.iteration > 0) or self.runs[-1].failure:
            self._begin(Run(began=self.began if self.begun else line.moment, resume=self.resume or None))
        elif self.resume and not self.runs[-1].curves:
            self.runs[-1].resume = self.resume
        self.resume, self.testing = "", False
        self.iteration, self.seen = iteration, {}

    def _begin(self, run: Run) -> None:
        if self.runs[-1].curves or self.runs[-1].failure:
            self.runs.append(run)
        else:
            self.runs[-1] = run
        self.begun, self.testing, self.iteration, self.seen = False, False, -1, {}

    def _read_iteration(self, message: str, line: Line) -> None:
        for column, form in (("loss", _LOSS), ("lr", _RATE)):
            if (found := form.search(message)) and (value := _value(found[1])) is not None:
                self.runs[-1].curves.add("train", self.iteration, {column: value}, line.moment)
        if found := _TESTING.search(message):
            self.net = int(found[1] or 0)

    def _read_values(self, message: str, line: Line) -> None:
        if (found := _OUTPUT.match(message)) and (value := _value(found[3])) is not None:
            section = "test" if found[1] == "Test" else "train output"
            column = f"{found[2]}#{self.net}" if section == "test" and self.net else found[2]
            self._add(section, self.iteration, column, value, line)
        elif (found := _SCORE.match(message)) and (value := _value(found[2])) is not None:
            column = "total loss" if found[1] == "loss" else "score"
            self._add("test", self.iteration, f"{column}#{self.net}" if self.net else column, value, line)
        elif found := _RANKS.match(message):
            pairs = (part.rsplit(" ", 1) for part in found[1].split(", "))
            values = {pair[0]: _value(pair[-1].split("/")[0]) for pair in pairs if len(pair) == 2}
            ranks = {layer: rank for layer, rank in values.items() if rank is not None}
            self.runs[-1].curves.add("rank", self.iteration, ranks)

    def _read_batch(self, message: str, line: Line) -> None:
        """A line of `caffe test`: an output of a batch, or the mean of one."""
        if (found := _BATCH.match(message)) and (value := _value(found[3])) is not None:
            if int(found[1]) != self.iteration:
                self.iteration, self.seen = int(found[1]), {}
            self._add("batch", self.iteration, found[2], value, line)
        elif message.startswith("Loss: ") and (value := _value(message[6:].strip())) is not None:
            self.iteration, self.seen = 0, {}
            self.runs[-1].curves.add("test", 0, {"total loss": value}, line.moment)
        elif (found := _MEAN.match(message)) and (value := _value(found[2])) is not None:
            self._add("test", 0, found[1], value, line)

    def _add(self, section: str, iteration: int, column: str, value: float, line: Line) -> None:
        count = self.seen.get(f"{section} {column}", 0)
        self.seen[f"{section} {column}"] = count + 1
        self.runs[-1].curves.add_value(section, iteration, column, value, count, line.moment)


def _value(text: str) -> float | None:
    """A number as a C++ stream prints it, nan and inf too."""
    sign = "-" if text.startswith("-") else ""
    try:
        return float(sign + _WORDS.get(text.lstrip("+-"), text.lstrip("+-")))
    except ValueError:
        return None
