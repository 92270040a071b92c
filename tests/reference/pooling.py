"""Pooling by plain loops over planes, windows and the values in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FLT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Pool:
    """(height, width) of each."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    ceil: bool = True

    def output(self, size: tuple[int, int]) -> tuple[int, int]:
        """Caffe's rule, in its own order: round, then clip both axes if either is padded."""
        number = [0, 0]
        for axis in (0, 1):
            exact = (size[axis] + 2 * self.pad[axis] - self.kernel[axis]) / self.stride[axis]
            number[axis] = (math.ceil(exact) if self.ceil else math.floor(exact)) + 1
        if self.pad[0] or self.pad[1]:
            for axis in (0, 1):
                if (number[axis] - 1) * self.stride[axis] >= size[axis] + self.pad[axis]:
                    number[axis] -= 1
        return number[0], number[1]

    def windows(self, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]], int]]:
        """(index of the top, indices of the bottom within its window, area that AVE divides by)."""
        size = (shape[2], shape[3])
        for n, c, row, column in np.ndindex(*shape[:2], *self.output(size)):
            spans, area = [], 1
            for axis, place in ((0, row), (1, column)):
                start = place * self.stride[axis] - self.pad[axis]
                end = min(start + self.kernel[axis], size[axis] + self.pad[axis])
                area *= end - start
                spans.append(range(max(start, 0), min(end, size[axis])))
            yield (n, c, row, column), [(n, c, h, w) for h, w in itertools.product(*spans)], area

    def maximum(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tops, and the index h * width + w of each in its plane: the search begins at -FLT_MAX and index -1."""
        top = np.empty((*x.shape[:2], *self.output(x.shape[2:])))
        mask = np.empty_like(top)
        for place, inside, _ in self.windows(x.shape):
            best, index = -FLT_MAX, -1
            for at in inside:
                if x[at] > best:
                    best, index = x[at], at[2] * x.shape[3] + at[3]
            top[place], mask[place] = best, index
        return top, mask

    def maximum_gradient(self, x: np.ndarray, diff: np.ndarray) -> np.ndarray:
        gradient, (_, mask) = np.zeros(x.shape), self.maximum(x)
        for place in np.ndindex(*diff.shape):
            row, column = divmod(int(mask[place]), x.shape[3])
            gradient[place[0], place[1], row, column] += diff[place]
        return gradient

    def average(self, x: np.ndarray) -> np.ndarray:
        top = np.empty((*x.shape[:2], *self.output(x.shape[2:])))
        for place, inside, area in self.windows(x.shape):
            top[place] = sum(x[at] for at in inside) / area
        return top

    def average_gradient(self, x: np.ndarray, diff: np.ndarray) -> np.ndarray:
        gradient = np.zeros(x.shape)
        for place, inside, area in self.windows(x.shape):
            for at in inside:
                gradient[at] += diff[place] / area
        return gradient
