"""One training step of a recipe: from weights, or from the last snapshot of a run that was broken off, to the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_compat.errors import WeightsError
from caffe_compat.proto.reading import check_regular
from caffe_compat.solver.log import JsonLinesLog
from caffe_compat.solver.snapshots import newest_snapshot
from caffe_compat.solver.solver import Solver

logger = logging.getLogger(__name__)

Around = Callable[[Solver], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Surroundings:
    """Where and how solvers run. around: a context in which each of them trains, for signals and progress bars."""

    device: str = "cpu"
    compat: str = "bvlc"
    around: Around = nullcontext

    def solver(self, param: Any, weights: Any = None, **options: Any) -> Solver:
        """A Solver here of a copy of the SolverParameter `param`, which options such as max_iter change."""
        own = type(param)()
        own.CopyFrom(param)
        return Solver(own, weights=weights, device=self.device, compat=self.compat, **options)

    def train(self, param: Any, weights: Any = None, **options: Any) -> tuple[Solver, list[dict[str, Any]]]:
        """The solver of `param` after its last iteration, and what its test then gave.

        Goes on from the newest whole snapshot of its prefix. KeyboardInterrupt where it was asked to stop early.
        """
        state = newest_snapshot(param.snapshot_prefix)
        solver = self.solver(param, () if state else weights, **options)
        journal, test = JsonLinesLog(f"{param.snapshot_prefix}.jsonl"), LastTest()
        solver.callbacks += [journal, test]
        try:
            with self.around(solver):
                solver.solve(resume=state)
        finally:
            solver.callbacks.remove(journal)  # a later test would open the file again
            journal.close()
        if solver.iteration < solver.config.max_iter:
            logger.info("Stopped at iteration %d; the same call goes on from its snapshot", solver.iteration)
            raise KeyboardInterrupt
        return solver, test.results if test.iteration == solver.iteration else solver.test()


class LastTest:
    """A solver callback that keeps the last test: its iteration, and its results."""

    def __init__(self) -> None:
        self.iteration = -1
        self.results: list[dict[str, Any]] = []

    def after_test(self, solver: Solver, results: Sequence[Mapping[str, Any]]) -> None:
        self.iteration, self.results = solver.iteration, [dict(outputs) for outputs in results]


def weights_files(weights: Any) -> list[Path]:
    """The files of a comma list, a path, or a sequence of them; WeightsError where one is missing."""
    if isinstance(weights, str):
        weights = [weights] if Path(weights).exists() else [word.strip() for word in weights.split(",") if word.strip()]
    files = [Path(weights)] if isinstance(weights, os.PathLike) else [Path(each) for each in weights]
    for file in files:
        if not file.exists():
            raise WeightsError(f"{file}: no such file; give a .caffemodel or .caffemodel.h5 to start from")
        check_regular(file, WeightsError)
    return files
