"""How a solver shows itself to whoever runs it in a script or notebook: Caffe's log lines and a progress bar."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm.auto import tqdm

from caffe_compat.solver.log import GlogHandler

if TYPE_CHECKING:
    from caffe_compat.solver.solver import Solver

LOGGER = logging.getLogger("caffe_compat")
S = TypeVar("S", bound="Solver")


def watch(solver: S) -> S:
    """Log what the package tells to stderr in Caffe's lines, with a progress bar below; gives `solver` back.

        cc.watch(cc.Solver("lenet_solver.prototxt")).solve()

    The bar appears on a terminal and in a notebook; elsewhere there are the lines alone. The log's level is INFO from
    then on; logging.getLogger("caffe_compat") is the logger, for whoever wants it elsewhere.
    """
    if not any(isinstance(handler, GlogHandler) for handler in LOGGER.handlers):
        LOGGER.addHandler(_AboveBar(sys.stderr))
        LOGGER.setLevel(logging.INFO)
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        solver.callbacks.append(ProgressBar(solver))
    return solver


class ProgressBar:
    """A solver callback: iterations done, the loss and the learning rate, on one line below the log."""

    def __init__(self, solver: Solver) -> None:
        self.bar: Any = tqdm(
            total=solver.config.max_iter, initial=solver.iteration, unit="it", file=sys.stderr, leave=False
        )

    def after_step(self, solver: Solver) -> None:
        self.bar.set_postfix({"loss": f"{solver.smoothed_loss:.4g}", "lr": f"{solver.learning_rate:g}"}, refresh=False)
        self.bar.update(solver.iteration - self.bar.n)
        if solver.iteration >= self.bar.total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


class _AboveBar(GlogHandler):
    """Writes a line so that a progress bar stays below it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=self.stream)
