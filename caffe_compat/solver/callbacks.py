"""Solver callbacks that Caffe's users have long asked for: keep the best snapshot, stop early, keep only the last."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.proto.reading import read_json
from caffe_compat.solver.log import number
from caffe_compat.solver.nets import output_weights
from caffe_compat.solver.sets import number_of, remove_set, states

logger = logging.getLogger(__name__)


class Score:
    """One output of a test net, and the best it has been: the highest, or the lowest where the output is a loss."""

    def __init__(self, output: str, net: int = 0) -> None:
        self.output, self.net = output, net
        self.best: float | None = None

    def improves(self, solver: Any, results: Sequence[dict[str, Any]]) -> bool | None:
        """Whether this test is the best so far, which it then becomes; None where the test was interrupted.

        SolverError where there is no such test net or output.
        """
        if self.net >= len(solver.test_nets) or self.output not in solver.test_nets[self.net].output_names:
            nets = [", ".join(net.output_names) for net in solver.test_nets]
            raise SolverError(f"test net {self.net} has no output '{self.output}'; outputs by net: {nets}")
        if self.output not in results[self.net]:
            return None
        value = results[self.net][self.output]
        if not isinstance(value, float):
            raise SolverError(f"output '{self.output}' has {value.size} values; choose one that is a single number")
        is_loss = output_weights(solver.test_nets[self.net])[self.output] != 0
        better = self.best is None or (value < self.best if is_loss else value > self.best)
        if better:
            self.best = value
        return better


class KeepBest:
    """Snapshots whenever an output of a test is better than ever before, as PREFIX_best_OUTPUT.caffemodel and so on.

    The score stands in PREFIX_best_OUTPUT.json, so that a resumed run does not put a worse one in its place.
    """

    def __init__(self, output: str, net: int = 0) -> None:
        self.score = Score(output, net)

    def after_test(self, solver: Any, results: Sequence[dict[str, Any]]) -> None:
        stem = f"best_{self.score.output}"
        note = Path(f"{solver.config.snapshot_prefix}_{stem}.json")
        if self.score.best is None and solver.iteration > 0 and note.is_file():
            self.score.best = _noted(note)
        if self.score.improves(solver, results):
            facts = {"output": self.score.output, "value": self.score.best, "iteration": solver.iteration}
            solver.snapshot(stem, beside={note: json.dumps(facts).encode()})


def _noted(note: Path) -> float:
    """The score in a note of KeepBest's; SolverError where it is none."""
    facts = read_json(note, "the score of the best snapshot", SolverError)
    value = facts.get("value") if isinstance(facts, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise SolverError(f"{note}: holds no score of the best snapshot; remove it, and the next test counts as best")
    return float(value)


class Patience:
    """Stops the run, with a snapshot, after `tests` tests in a row without a better value of an output."""

    def __init__(self, tests: int, output: str, net: int = 0) -> None:
        if tests < 1:
            raise SolverError(f"patience is {tests} tests; wanted 1 or more")
        self.tests = tests
        self.score = Score(output, net)
        self.worse = 0

    def after_test(self, solver: Any, results: Sequence[dict[str, Any]]) -> None:
        better = self.score.improves(solver, results)
        self.worse = 0 if better else self.worse + (better is False)
        if self.worse >= self.tests:
            best = number(self.score.best or 0.0)
            logger.info("No better %s than %s in %d tests: stopping", self.score.output, best, self.worse)
            solver.request("stop")


class KeepLast:
    """Removes all but the last `count` numbered snapshots of the run's prefix; the best one has no number and stays."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise SolverError(f"keep-last is {count}; wanted 1 or more")
        self.count = count

    def after_snapshot(self, solver: Any, path: Path) -> None:
        numbered = [
            state for state in states(Path(solver.config.snapshot_prefix)) if number_of(state) <= solver.iteration
        ]
        for state in numbered[self.count :]:
            remove_set(state)
