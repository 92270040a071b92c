"""Ctrl-C at any moment of a command: it ends, and no traceback appears."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # exit status, as a shell reports the signal


@contextmanager
def interruptible() -> Iterator[None]:
    """Within this block SIGINT raises KeyboardInterrupt, except while a module is imported: there the process ends.

    For an import that is cut short leaves modules half made, and extension modules turn the exception into others.
    A process that ignores the signal, as one behind nohup, goes on ignoring it.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before == signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; end the process where a module is being imported."""
    if in_import(frame):
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def in_import(frame: FrameType | None) -> bool:
    """Whether `frame`, in which a signal came, is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
