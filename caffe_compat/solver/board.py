"""What a run tells, for TensorBoard: losses, learning rate, test outputs, ranks, and histograms of filters' angles."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.solver.filters import pair_angles

logger = logging.getLogger(__name__)


class TensorBoardLog:
    """A solver callback that writes event files into `folder`, which TensorBoard shows.

    loss, smoothed_loss and learning_rate at every displayed iteration; test/OUTPUT at every test (test_1/OUTPUT of a
    second test net, OUTPUT/0, OUTPUT/1, ... of one with several values), and there too, of the forced layers, or of
    every convolution where there is no force, rank/LAYER and the histogram angle/LAYER of the angles between all pairs
    of filters, in degrees. rank: of a bank (filters, ...), an integer, such as the rank at 95 % energy.

    A run that goes on in the same folder hides what was written of later iterations. Where the disk takes no more,
    training goes on without this log, and a warning says so once. SolverError where `folder` is a file, or where the
    package tensorboard is not here.
    """

    def __init__(self, folder: str | Path, rank: Callable[[np.ndarray[Any, Any]], int]) -> None:
        self.folder, self.rank = Path(folder), rank
        if self.folder.exists() and not self.folder.is_dir():
            raise SolverError(f"{self.folder}: is no folder; TensorBoard's event files need one")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise SolverError(
                "TensorBoard needs the package tensorboard: pip install caffe_compat[tensorboard]"
            ) from None
        self._writer_class = SummaryWriter
        self._writer: Any = None
        self._given_up = False

    def after_step(self, solver: Any) -> None:
        done = solver.iteration - 1
        if solver.config.display and done % solver.config.display == 0:
            self._write(solver, self._step, done)

    def after_test(self, solver: Any, results: Sequence[dict[str, Any]]) -> None:
        self._write(solver, self._test, solver.iteration, results)

    def close(self) -> None:
        """Write what is waiting; the next event opens another file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._guarded(writer.close)

    def _write(self, solver: Any, event: Callable[..., None], *facts: Any) -> None:
        if not self._given_up:
            self._guarded(event, solver, *facts)

    def _guarded(self, event: Callable[..., None], *facts: Any) -> None:
        try:
            event(*facts)
        except OSError as error:
            self._given_up, self._writer = True, None
            reason = error.strerror or error
            logger.warning("%s cannot be written (%s); training goes on without TensorBoard", self.folder, reason)

    def _open(self, iteration: int) -> Any:
        if self._writer is None:
            self._writer = self._writer_class(str(self.folder), purge_step=iteration or None)
        return self._writer

    def _step(self, solver: Any, iteration: int) -> None:
        writer = self._open(iteration)
        for tag, value in (
            ("loss", solver.loss),
            ("smoothed_loss", solver.smoothed_loss),
            ("learning_rate", solver.applied_rate),
        ):
            writer.add_scalar(tag, float(value), iteration)
        writer.flush()

    def _test(self, solver: Any, iteration: int, results: Sequence[dict[str, Any]]) -> None:
        writer = self._open(iteration)
        for index, outputs in enumerate(results):
            group = f"test_{index}" if index else "test"
            for tag, value in _single(group, outputs):
                writer.add_scalar(tag, value, iteration)
        for layer, bank in watched(solver).items():
            writer.add_scalar(f"rank/{layer}", self.rank(bank.cpu().numpy()), iteration)
            if len(angles := pair_angles(bank)):
                writer.add_histogram(f"angle/{layer}", angles.cpu(), iteration)
        writer.flush()


def watched(solver: Any) -> dict[str, Tensor]:
    """{layer: its filters} of the forced layers, or of every convolution where there is no force."""
    params = solver.forced_params or [each for each in solver.net.learnable_params if each.tensor.dim() == 4]
    return {param.layer: param.tensor.detach().float() for param in params}


def _single(group: str, outputs: dict[str, Any]) -> list[tuple[str, float]]:
    """Every number of a test, with its tag."""
    found = []
    for name, value in outputs.items():
        values = np.ravel(np.asarray(value, dtype=np.float64))
        tags = [f"{group}/{name}"] if values.size == 1 else [f"{group}/{name}/{i}" for i in range(values.size)]
        found += list(zip(tags, map(float, values), strict=True))
    return found
