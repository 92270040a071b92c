"""Caffe's log lines on stderr, in glog's form, while the drop-in does what Caffe logs (_caffe.cpp, InitLog, Log).

Before init_log, glog writes every line from GLOG_minloglevel up to stderr; so do the calls here that are wrapped in
`lines`. Whoever wants less says so as in Caffe, or sets the level of the logger `caffe_compat`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caffe_compat.pycaffe.bindings import text, whole
from caffe_compat.pycaffe.mode import solver_rank
from caffe_compat.solver.log import GlogFormatter, GlogHandler

_LEVEL = "GLOG_minloglevel"  # the environment variable that glog reads when it is loaded
_CAFFE, _PACKAGE = logging.getLogger("caffe"), logging.getLogger("caffe_compat")


class _Lines(logging.StreamHandler):  # type: ignore[type-arg]
    """To what sys.stderr is at the time. Solvers of other ranks than 0 say no more than errors, as in Caffe."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, _python_level(os.environ.get(_LEVEL, "0")))
        self.setFormatter(GlogFormatter())

    @property
    def stream(self) -> Any:
        return sys.stderr

    def filter(self, record: logging.LogRecord) -> bool:
        if solver_rank() != 0 and record.levelno < logging.ERROR:
            return False
        if any(isinstance(handler, GlogHandler) for handler in _PACKAGE.handlers):  # a command's own
            return False
        return bool(super().filter(record))


class _Switch:
    """Counts who wants lines; the handler is there while somebody does."""

    def __init__(self) -> None:
        self._lock, self._users, self._set = threading.Lock(), 0, list[logging.Logger]()

    def on(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            for logger in (_CAFFE, _PACKAGE):
                logger.addHandler(_handler)
                if logger.level == logging.NOTSET:
                    logger.setLevel(logging.INFO)
                    self._set.append(logger)

    def off(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            for logger in (_CAFFE, _PACKAGE):
                logger.removeHandler(_handler)
            for logger in self._set:
                logger.setLevel(logging.NOTSET)
            self._set.clear()


def _python_level(glog: str | int) -> int:
    """glog's 0 INFO, 1 WARNING, 2 ERROR, 3 FATAL as a level of logging."""
    try:
        return logging.INFO + 10 * int(glog)
    except ValueError:
        return logging.INFO


_handler = _Lines()
_switch = _Switch()


@contextmanager
def lines() -> Iterator[None]:
    """Within this block, what the package logs appears on stderr."""
    _switch.on()
    try:
        yield
    finally:
        _switch.off()


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Log everything from now on, from glog's `level` up; errors alone without `stderr`, for no files are written."""
    chosen = _python_level(whole("init_log", level))
    _handler.setLevel(chosen if stderr else max(chosen, logging.ERROR))
    if not _started:
        _started.append(True)
        _switch.on()


_started: list[bool] = []


def log(message: str) -> None:
    """A line in the log."""
    with lines():
        _CAFFE.info("%s", text("log", message))
