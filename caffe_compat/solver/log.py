"""Log lines as Caffe prints them, the glog prefix before them, and the same facts as JSON lines.

Every log parser in use reads "Iteration N, loss = X", "Train net output #0: name = X (* w = Y loss)" and
"Iteration N, lr = X", so those forms are kept to the letter, one message a line.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from caffe_compat.showing import visible

logger = logging.getLogger(__name__)

LETTERS = {"WARNING": "W", "ERROR": "E", "CRITICAL": "F"}


def number(value: float) -> str:
    """`value` as a C++ stream prints it: 6 significant digits, %g."""
    return f"{value:g}"


def output_lines(phase: str, outputs: Sequence[tuple[str, float, Sequence[float]]]) -> list[str]:
    """One line a value: `    Test net output #1: loss = 2.3 (* 1 = 2.3 loss)`.

    phase: "Train" or "Test". outputs: name, loss weight and values of every net output, in the net's order.
    """
    lines: list[str] = []
    for name, weight, values in outputs:
        for value in values:
            share = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
            lines.append(f"    {phase} net output #{len(lines)}: {name} = {number(value)}{share}")
    return lines


class GlogFormatter(logging.Formatter):
    """`Lmmdd hh:mm:ss.uuuuuu TTTTT file:line] message`; no year, for Caffe's extract_seconds.py reads none."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.localtime(record.created)
        stamp = time.strftime("%m%d %H:%M:%S", moment)
        micros = int(record.created % 1 * 1e6)
        thread = threading.get_native_id()
        letter = LETTERS.get(record.levelname, "I")
        place = f"{record.filename}:{record.lineno}"
        return f"{letter}{stamp}.{micros:06d} {thread:5d} {place}] {visible(record.getMessage())}"


class GlogHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes records in glog's form to a stream; stderr, as Caffe does, when none is given."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        super().__init__(stream)
        self.setFormatter(GlogFormatter())


class JsonLinesLog:
    """A solver callback: one JSON object a line, for displayed steps, tests and snapshots.

    Numbers that JSON has no word for (nan, inf) are written as strings. Where the disk takes no more, training goes on
    without this log, and a warning says so once.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: io.FileIO | None = None
        self._waiting: list[dict[str, Any]] | None = None  # since `begin`, until the first step
        self._given_up = False

    def begin(self, **facts: Any) -> None:
        """The line that starts a run's history. It, and all that follows it, is written with the run's first step.

        So a run that never trains leaves the history of the one before as it is.
        """
        self._waiting = [_timed(facts)]

    def before_step(self, solver: Any) -> None:
        waiting, self._waiting = self._waiting or [], None
        for facts in waiting:
            self._append(facts)

    def after_step(self, solver: Any) -> None:
        done = solver.iteration - 1
        if solver.config.display and done % solver.config.display == 0:
            losses = {"loss": solver.loss, "smoothed_loss": solver.smoothed_loss}
            self.write(event="step", iteration=done, lr=solver.applied_rate, **losses)

    def after_test(self, solver: Any, results: Sequence[dict[str, Any]]) -> None:
        if self._waiting and 0 < solver.iteration >= solver.config.max_iter:
            del self._waiting[0]  # nothing is left to train: this is the last test of the run that stands there
            self.before_step(solver)
        for index, outputs in enumerate(results):
            if not outputs:  # it was interrupted, and comes again when the run goes on
                continue
            self.write(event="test", iteration=solver.iteration, net=index, outputs=outputs)

    def after_snapshot(self, solver: Any, path: Path) -> None:
        self.write(event="snapshot", iteration=solver.iteration, path=str(path))

    def write(self, **facts: Any) -> None:
        """Append one line; the first call makes the folder and the file."""
        if self._waiting is None:
            self._append(_timed(facts))
        else:
            self._waiting.append(_timed(facts))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, facts: dict[str, Any]) -> None:
        if self._given_up:
            return
        size = None
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if self.path.exists() and not self.path.is_file():  # to open a FIFO would wait for who reads it
                    raise OSError(errno.EINVAL, "no regular file stands there")
                self._file = io.FileIO(self.path, "a")
            size = os.fstat(self._file.fileno()).st_size
            line = memoryview((json.dumps(facts) + "\n").encode())
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            self._give_up(error, size)

    def _give_up(self, error: OSError, size: int | None) -> None:
        """Say so, and take a half-written line back."""
        self._given_up = True
        if self._file is not None and size is not None:
            with suppress(OSError):
                self._file.truncate(size)
        self.close()
        logger.warning("%s cannot be written (%s); training goes on without this log", self.path, error.strerror)


def _timed(facts: dict[str, Any]) -> dict[str, Any]:
    sayable: dict[str, Any] = _sayable({**facts, "time": round(time.time(), 3)})
    return sayable


def _sayable(value: Any) -> Any:
    """`value` with arrays as lists and non-finite numbers as strings."""
    if isinstance(value, dict):
        return {key: _sayable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(item) for item in value]
    if hasattr(value, "tolist"):
        return _sayable(value.tolist())
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
