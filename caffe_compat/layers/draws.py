"""Where fillers and Dropout take their random numbers from: torch's generator, or another for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from torch import Tensor


class Source(Protocol):
    """Fills tensors in place, element after element in C order, and gives them back."""

    def uniform(self, blob: Tensor, low: float, high: float) -> Tensor:
        """Uniform between `low` and `high`."""

    def normal(self, blob: Tensor, mean: float, std: float) -> Tensor:
        """Normal of this mean and standard deviation."""

    def bernoulli(self, blob: Tensor, probability: float) -> Tensor:
        """1 with this probability, else 0."""


class TorchSource:
    """torch's own generator."""

    def uniform(self, blob: Tensor, low: float, high: float) -> Tensor:
        return blob.uniform_(low, high)

    def normal(self, blob: Tensor, mean: float, std: float) -> Tensor:
        # without memory there is nothing to draw, for which torch would load its compiler, for seconds
        return blob if blob.is_meta else blob.normal_(mean, std)

    def bernoulli(self, blob: Tensor, probability: float) -> Tensor:
        return blob.bernoulli_(probability)


TORCH = TorchSource()
_current: ContextVar[Source] = ContextVar("source of random numbers", default=TORCH)


def source() -> Source:
    """Where random numbers come from now, in this thread."""
    return _current.get()


@contextmanager
def drawing_from(chosen: Source) -> Iterator[None]:
    """Within this block, and in this thread, random numbers come from `chosen`."""
    token = _current.set(chosen)
    try:
        yield
    finally:
        _current.reset(token)
