"""Ctrl-C or SIGTERM at any moment of a command: it ends, nothing half written stays, and no traceback appears."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)

_asked = signal.SIGINT  # the last signal that asked for an end


@contextmanager
def interruptible() -> Iterator[None]:
    """Within this block SIGINT and SIGTERM raise KeyboardInterrupt, except while a module is imported: there the
    process ends.

    For an import that is cut short leaves modules half made, and extension modules turn the exception into others.
    A process that ignores a signal, as one behind nohup, goes on ignoring it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    heeded = [number for number in _NUMBERS if before[number] != signal.SIG_IGN]
    remember(signal.SIGINT)
    for number in heeded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; end the process where a module is being imported."""
    remember(number)
    if in_import(frame):
        os._exit(status())
    raise KeyboardInterrupt


def remember(number: int) -> None:
    """Let `status` be that of the signal `number`, which asked for an end."""
    global _asked
    _asked = signal.Signals(number)


def status() -> int:
    """The exit status of a command that ends by KeyboardInterrupt, as a shell reports the signal."""
    return 128 + _asked


def is_of_interrupt(error: BaseException) -> bool:
    """Whether `error` came while a KeyboardInterrupt was on its way out, as of argparse's restoring what it had not
    kept yet."""
    context = error.__context__
    while context is not None and not isinstance(context, KeyboardInterrupt):
        context = context.__context__
    return context is not None


def in_import(frame: FrameType | None) -> bool:
    """Whether `frame`, in which a signal came, is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
