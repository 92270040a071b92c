"""What a command shows on stderr: Caffe's log lines, and a progress bar where a person watches."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import caffe_compat as cc

LOGGER = logging.getLogger("caffe_compat")


class AboveBar(cc.GlogHandler):
    """Writes a line so that a bar stays below it, where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream.isatty() and "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(self.format(record), file=self.stream)
        else:
            super().emit(record)


@contextmanager
def glog_lines() -> Iterator[None]:
    """Within this block, what the package logs appears on stderr in glog's form."""
    handler = AboveBar(sys.stderr)
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)


@contextmanager
def progress(solver: cc.Solver) -> Iterator[None]:
    """Within this block, a progress bar follows `solver`, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from tqdm.contrib.logging import logging_redirect_tqdm

    bar = cc.ProgressBar(solver)
    solver.callbacks.append(bar)
    try:
        with logging_redirect_tqdm([LOGGER]):
            yield
    finally:
        solver.callbacks.remove(bar)
        bar.close()
