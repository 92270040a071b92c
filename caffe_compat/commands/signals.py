"""SIGINT, SIGHUP and SIGTERM while a solver runs; the first two with Caffe's effects (signal_handler.cpp)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from caffe_compat.commands.interrupts import in_import, interrupt, remember

EFFECTS = ("stop", "snapshot", "none")
TERMINATED = 143  # exit status, as a shell reports SIGTERM


class Signals:
    """What signals ask of a solver, from before it is there: requests to snapshot wait for it, a stop ends at once.

    A SIGTERM, a cluster's way to end a run, takes a snapshot and stops, whatever snapshot_after_train says. A second
    SIGINT after one that stops interrupts at once, for a long iteration or test should not hold a user; a snapshot that
    is being written comes to its end first, and with it the run.
    """

    def __init__(self, sigint_effect: str, sighup_effect: str) -> None:
        self.effects = {signal.SIGINT: sigint_effect, signal.SIGTERM: "stop"}
        if hasattr(signal, "SIGHUP"):  # Windows has none
            self.effects[signal.SIGHUP] = sighup_effect
        self._solver: Any = None
        self._early: list[str] = []
        self._stops = False
        self._terminated = False

    @property
    def status(self) -> int:
        """The exit status of a run that went well, or was stopped by SIGTERM."""
        solver = self._solver
        return TERMINATED if self._terminated and solver.iteration < solver.config.max_iter else 0

    def reach(self, solver: Any) -> None:
        """Ask `solver` from now on, and at once for what was asked before."""
        self._solver = solver
        for action in self._early:
            solver.request(action)

    def handle(self, number: int, frame: FrameType | None) -> None:
        effect = self.effects[signal.Signals(number)]
        if effect == "none":
            return
        if effect == "stop":
            remember(number)
        if self._solver is None:
            self._handle_early(number, effect, frame)
        elif number == signal.SIGINT and self._stops:
            if not getattr(self._solver, "is_writing", False):
                raise KeyboardInterrupt
        else:
            self._solver.request(effect)
            if number == signal.SIGTERM:
                self._terminate()
        self._stops = self._stops or (number == signal.SIGINT and effect == "stop")

    def _handle_early(self, number: int, effect: str, frame: FrameType | None) -> None:
        """There is no solver yet, and nothing to lose."""
        if effect == "snapshot":
            self._early.append(effect)
        elif number != signal.SIGTERM:
            interrupt(number, frame)
        elif in_import(frame):
            os._exit(TERMINATED)
        else:
            raise SystemExit(TERMINATED)

    def _terminate(self) -> None:
        self._terminated = True
        config = getattr(self._solver, "config", None)
        if config is not None and config.snapshot_prefix and not config.snapshot_after_train:
            self._solver.request("snapshot")


@contextmanager
def heeding(sigint_effect: str, sighup_effect: str) -> Iterator[Signals]:
    """Within this block, signals have these effects on the solver that they then `reach`; "none" ignores one."""
    signals = Signals(sigint_effect, sighup_effect)
    before: dict[signal.Signals, Any] = {number: signal.signal(number, signals.handle) for number in signals.effects}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def listening(solver: Any, sigint_effect: str, sighup_effect: str) -> Iterator[Signals]:
    """Within this block, a signal asks `solver` for its effect after the iteration it is in."""
    with heeding(sigint_effect, sighup_effect) as signals:
        signals.reach(solver)
        yield signals
