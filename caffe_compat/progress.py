"""How far long work has come: functions of this package say what they are at, and who calls them may watch.

    for layer in in_steps("factorizing", layers):      # "factorizing: conv2, 2 of 57"
    with doing("running net 'GoogleNet'"):

Nobody is told where nobody watches, and the work does not wait for who does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Work:
    """what: words for it. total: of how many steps it is, None where there are none to count. done: of these.

    at: the step that it is at. is_start: whether it is what comes before a command's own work.
    """

    def __init__(self, what: str, total: int | None, is_start: bool) -> None:
        self.what, self.total, self.is_start = what, total, is_start
        self.done, self.at = 0, ""

    def __str__(self) -> str:
        count = f"{min(self.done + 1, self.total)} of {self.total}" if self.total else ""
        step = ", ".join(filter(None, (self.at, count)))
        return f"{self.what}: {step}" if step else self.what


class Watcher(Protocol):
    """Who is told of work that begins and ends; what is within other work begins later and ends first."""

    def begin(self, work: Work) -> None: ...

    def end(self, work: Work) -> None: ...


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Within this block, `watcher` is told what is worked at."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def doing(what: str, total: int | None = None, is_start: bool = False) -> Iterator[Work]:
    """Within this block the work is `what`; who does it counts its steps in the Work."""
    work, watcher = Work(what, total, is_start), _watcher.get()
    if watcher is None:
        yield work
        return
    watcher.begin(work)
    try:
        yield work
    finally:
        watcher.end(work)


def in_steps(what: str, items: Iterable[T], name: Callable[[T], str] = str) -> Iterator[T]:
    """`items` one after another, each a step of the work `what`. name: what a step is called."""
    with doing(what, len(items) if isinstance(items, Sized) else None) as work:
        for work.done, item in enumerate(items):
            work.at = name(item)
            yield item
