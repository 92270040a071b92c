"""What a command shows on stderr: Caffe's log lines, and a progress bar where a person watches."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import caffe_compat as cc

LOGGER = logging.getLogger("caffe_compat")


@contextmanager
def glog_lines() -> Iterator[None]:
    """Within this block, what the package logs appears on stderr in glog's form."""
    handler = cc.GlogHandler(sys.stderr)
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)


class ProgressBar:
    """A solver callback: iterations done, the loss and the learning rate, on one line below the log."""

    def __init__(self, solver: cc.Solver) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=solver.config.max_iter, initial=solver.iteration, unit="it", file=sys.stderr, leave=False)

    def after_step(self, solver: cc.Solver) -> None:
        self.bar.set_postfix({"loss": f"{solver.smoothed_loss:.4g}", "lr": f"{solver.learning_rate:g}"}, refresh=False)
        self.bar.update(solver.iteration - self.bar.n)


@contextmanager
def progress(solver: cc.Solver) -> Iterator[None]:
    """Within this block, a progress bar follows `solver`, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from tqdm.contrib.logging import logging_redirect_tqdm

    bar = ProgressBar(solver)
    solver.callbacks.append(bar)
    try:
        with logging_redirect_tqdm([LOGGER]):
            yield
    finally:
        solver.callbacks.remove(bar)
        bar.bar.close()
