"""The loss of a run: the last one, and the one that Caffe displays (Solver::UpdateSmoothedLoss)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


class SmoothedLoss:
    """The mean of the last `window` losses, kept by small corrections as Caffe keeps it."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.value = 0.0
        self.losses: list[float] = []
        self.added = 0

    def add(self, loss: float) -> None:
        if len(self.losses) < self.window:
            self.losses.append(loss)
            self.value += (loss - self.value) / len(self.losses)
        else:
            oldest = self.added % self.window
            self.value += (loss - self.losses[oldest]) / self.window
            self.losses[oldest] = loss
        self.added += 1


class Losses:
    """The losses of a run, iteration after iteration.

    Those on a GPU wait there until somebody asks, or PATIENCE of them are there: to read one, the host has to wait.
    """

    PATIENCE = 100

    def __init__(self, window: int) -> None:
        self.last = math.nan
        self.smoothed = SmoothedLoss(window)
        self._waiting: list[Tensor] = []

    def add(self, loss: Tensor) -> bool:
        """Take the loss of one more iteration, a scalar; whether it is time to `read`."""
        self._waiting.append(loss)
        return not loss.is_cuda or len(self._waiting) >= self.PATIENCE

    def read(self, combined: Callable[[float], float]) -> int | None:
        """Take in what waits; how many iterations ago the first loss came that is no number, None if all are.

        combined: see Solver._combined.
        """
        values = torch.stack(self._waiting).tolist() if self._waiting else []
        self._waiting.clear()
        for index, value in enumerate(values):
            self.last = combined(value)
            self.smoothed.add(self.last)
            if not math.isfinite(self.last):
                return len(values) - 1 - index
        return None
