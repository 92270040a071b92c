"""What long work is at, on stderr: a bar where a person watches, elsewhere a log line now and then."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import caffe_compat as cc
from caffe_compat.progress import Work, watched_by
from caffe_compat.showing import message

PATIENCE = 1.0  # seconds of work before a bar appears
INTERVAL = 10.0  # seconds between log lines, and before the first
TICK = 0.5  # seconds between looks at the work


@contextmanager
def followed() -> Iterator[None]:
    """Within this block, long work shows on stderr what it is at."""
    follower = Bar() if _has_room(sys.stderr) else Lines()
    try:
        with watched_by(follower):
            yield
    finally:
        follower.close()


def _has_room(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal that shows a line; those of containers that nobody looks at have no size."""
    if not stream.isatty():
        return False
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except (OSError, ValueError):  # no file of the system's
        return True


class Follower:
    """Looks at the work from a thread of its own, for work that takes long takes long between its steps too."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.stream = sys.stderr  # as it is now: exports lead it elsewhere while torch prints
        self.since = 0.0  # when the outermost work began
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, work: Work) -> None:
        with self._lock:
            if not self.works:
                self.since = time.monotonic()
            self.works.append(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="following", daemon=True)
            self._thread.start()

    def end(self, work: Work) -> None:
        with self._lock:
            if any(each is work for each in self.works):  # not where an outer one has ended, as by an error
                while self.works.pop() is not work:
                    pass
            if not self.works:
                self.rest()

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            self.works.clear()
            self.rest()

    def prepare(self) -> None:
        """Import what `show` needs; not while the lock is held, for an import waits for others."""

    def show(self, now: float) -> None:
        """Show the works, of which there are some, at the time `now`."""

    def rest(self) -> None:
        """Take away what is shown: there is no work."""

    def _look(self) -> None:
        while not self._closed.wait(TICK):
            self.prepare()
            with self._lock:
                if self.works:
                    self.show(time.monotonic())


class Bar(Follower):
    """A bar of the innermost work, from PATIENCE seconds on; log lines stay above it."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Any = None
        self._work: Work | None = None
        self._make: Any = None

    def prepare(self) -> None:
        from tqdm import tqdm

        self._make = tqdm

    def show(self, now: float) -> None:
        if now - self.since < PATIENCE:
            return
        work = self.works[-1]
        words = message(": ".join([*(each.what for each in self.works), *filter(None, [work.at])]))
        if work is not self._work:
            self.rest()
            form = "{desc} [{elapsed}]" if work.total is None else None
            self.bar = self._make(
                desc=words, total=work.total, file=self.stream, leave=False, dynamic_ncols=True, bar_format=form
            )
            self._work = work
        self.bar.set_description_str(words, refresh=False)
        self.bar.n = work.done
        self.bar.refresh()

    def rest(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = self._work = None


class Lines(Follower):
    """A line in the form of the log, each INTERVAL seconds of work."""

    def __init__(self) -> None:
        super().__init__()
        self._told = 0.0
        self._handler: logging.Handler | None = None

    def prepare(self) -> None:
        self._handler = self._handler or cc.GlogHandler(self.stream)

    def show(self, now: float) -> None:
        if self.works[0].is_start or now - max(self.since, self._told) < INTERVAL:
            return
        self._told = now
        words = message("; ".join(map(str, self.works)))
        here = Lines.show.__code__.co_firstlineno
        record = logging.LogRecord(__name__, logging.INFO, __file__, here, words, None, None)
        if self._handler is not None:
            self._handler.emit(record)
