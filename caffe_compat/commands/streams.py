"""Standard streams on which no name from a file can drive a terminal, and that may be closed or lose their reader."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

from caffe_compat.showing import visible_lines


class SafeStream:
    """A text stream that spells control characters as escapes, line ends and tabs aside.

    A write may begin with a carriage return, as those of a progress bar do. Once a write fails, what follows goes
    nowhere; the failure is an OSError that has `name`, unless `may_fail`.

    is_over: whether the command has ended; what packages write then, as the colours that colorama resets, is theirs.
    """

    is_over = False

    def __init__(self, stream: IO[str], name: str = "a stream", may_fail: bool = False) -> None:
        self._stream, self._name, self._may_fail = stream, name, may_fail

    def write(self, text: str) -> int:
        if self.is_over:
            return self._stream.write(text)
        start = "\r" if text.startswith("\r") else ""
        self._try(lambda: self._stream.write(start + visible_lines(text[len(start) :])))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self._silence()
            if not self._may_fail:
                raise OSError(error.errno, error.strerror, self._name) from None

    def _silence(self) -> None:
        """Lead the stream nowhere, so that the flush at the end of the process stays quiet too."""
        with suppress(OSError, ValueError):  # a stream in memory has no number
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def occupy_closed() -> None:
    """Open nothing under each of the numbers 0, 1 and 2 that is closed, lest a file take it and get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


@contextmanager
def safe_streams() -> Iterator[None]:
    """Within this block sys.stdout and sys.stderr are safe; where one is closed, what it would get goes nowhere.

    Losing stderr, the log and what is said of errors, ends no work; losing stdout, the result, does.
    """
    before = sys.stdout, sys.stderr
    with ExitStack() as stack:
        out, err = (stream or stack.enter_context(open(os.devnull, "w")) for stream in before)
        safe = SafeStream(out, "standard output"), SafeStream(err, "standard error", may_fail=True)
        sys.stdout, sys.stderr = safe  # type: ignore[assignment]
        try:
            yield
        finally:
            with suppress(OSError):  # what has not told so far, as the help that a parser prints
                sys.stdout.flush()
            sys.stdout, sys.stderr = before
            for stream in safe:
                stream.is_over = True
