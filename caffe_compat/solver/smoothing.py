"""The loss as Caffe displays it (Solver::UpdateSmoothedLoss)."""

from __future__ import annotations


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
