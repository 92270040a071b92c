"""SIGINT and SIGHUP while a solver runs, with Caffe's effects (signal_handler.cpp)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import caffe_compat as cc

EFFECTS = ("stop", "snapshot", "none")


@contextmanager
def listening(solver: cc.Solver, sigint_effect: str, sighup_effect: str) -> Iterator[None]:
    """Within this block, a signal asks `solver` for its effect after the iteration it is in; "none" ignores it.

    Where torchrun runs several processes, SIGTERM stops them too: it sends that one to all when one of them ends.
    A second SIGINT after one that stops interrupts at once, for a long iteration or test should not hold a user.
    """
    effects = {signal.SIGINT: sigint_effect}
    if hasattr(signal, "SIGHUP"):  # Windows has none
        effects[signal.SIGHUP] = sighup_effect
    if cc.process_count() > 1:
        effects[signal.SIGTERM] = "stop"

    def handle(number: int, frame: FrameType | None) -> None:
        effect = effects[signal.Signals(number)]
        if effect != "none":
            solver.request(effect)
        if number == signal.SIGINT and effect == "stop":
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in effects}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
