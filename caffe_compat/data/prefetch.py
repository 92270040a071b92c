"""A thread that makes batches before they are asked for."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import Protocol

import numpy as np

Shape = tuple[int, ...]
Arrays = tuple[np.ndarray, ...]


class Batches(Protocol):
    """Stored batches, any of which can be read by its number; reading in order is the cheap way."""

    @property
    def shapes(self) -> list[Shape]: ...

    def read(self, index: int) -> Arrays: ...

    def close(self) -> None: ...


class Prefetched:
    """`batches`, with up to `depth` of them made ahead by a thread, for a reader that goes in order.

    Reading out of order starts the thread anew at that batch. What the thread meets, an error too, comes out of the
    `read` of that batch.
    """

    def __init__(self, batches: Batches, depth: int) -> None:
        self.depth = depth
        self.source = batches
        self._run: _Run | None = None
        self._next = 0
        self.shapes = batches.shapes

    def read(self, index: int) -> Arrays:
        """Batch `index`; waits if the thread has not made it yet."""
        if self._run is None or index != self._next:
            self.stop()
            self._run = _Run(self.source, self.depth, index)
            weakref.finalize(self, self._run.stop)
        self._next = index + 1
        made = self._run.take()
        if isinstance(made, Exception):
            self.stop()
            raise made
        return made

    def stop(self) -> None:
        """End the thread; the next `read` starts another."""
        if self._run is not None:
            self._run.stop()
            self._run = None

    def close(self) -> None:
        """End the thread and close the batches."""
        self.stop()
        self.source.close()


class _Run:
    """One thread and the bounded queue it fills."""

    def __init__(self, batches: Batches, depth: int, start: int) -> None:
        self._made: deque[Arrays | Exception] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._depth = depth
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._fill, args=(batches, start), name="prefetch", daemon=True)
        self._thread.start()

    def take(self) -> Arrays | Exception:
        with self._changed:
            self._changed.wait_for(lambda: self._made)
            self._changed.notify_all()
            return self._made.popleft()

    def stop(self) -> None:
        if self._process != os.getpid():
            return  # a forked child has a copy of this object, but not the thread
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join()

    def _fill(self, batches: Batches, index: int) -> None:
        made: Arrays | Exception | None = None
        while not isinstance(made, Exception):
            try:
                made = batches.read(index)
            except Exception as error:  # handed to the reader, who raises it
                made = error
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or len(self._made) < self._depth)
                if self._stopped:
                    return
                self._made.append(made)
                self._changed.notify_all()
            index += 1
