"""What the log of a run that was stopped says of how to go on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class LastSnapshot:
    """A solver callback that knows the last snapshot of a run, by its iteration; `resumed` is the one it began from."""

    def __init__(self, resumed: Path | None = None) -> None:
        self.path = resumed

    def after_snapshot(self, solver: Any, path: Path) -> None:
        if _number(path, Path(solver.config.snapshot_prefix)) is not None:  # the best one may be old by now
            self.path = path

    @contextmanager
    def told_when_stopped(self, solver: Any) -> Iterator[None]:
        """Within this block `solver` runs; where it is stopped, by whatever, one line says how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            log.info("%s", self.words(solver))
            raise
        if solver.is_stopped:
            log.info("%s", self.words(solver))

    def words(self, solver: Any) -> str:
        """The line: the snapshot, and the option that goes on from it."""
        where = f"at iteration {solver.iteration} of {solver.config.max_iter}"
        if self.path is None:
            return f"Stopped {where}; no snapshot was taken, so that the run can only start anew"
        prefix = Path(solver.config.snapshot_prefix)
        own = _number(self.path, prefix)
        beside = prefix.parent.iterdir() if own is not None else ()
        others = [_number(state, prefix) for state in beside]
        newest = own is not None and all(other is None or other <= own for other in others)
        option = "--snapshot latest" if newest else f"--snapshot {self.path} and no --weights"
        return f"Stopped {where}; to go on from {self.path}, run the same command with {option}"


def _number(state: Path, prefix: Path) -> int | None:
    """The iteration in the name of a numbered state of `prefix`; None for any other file."""
    found = re.fullmatch(rf"{re.escape(prefix.name)}_iter_(\d+)\.solverstate(\.h5)?", state.name, re.DOTALL)
    return int(found[1]) if found and state.parent == prefix.parent else None
