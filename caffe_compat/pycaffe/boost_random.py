"""Caffe's random numbers, bit for bit: Boost's Mersenne twister and distributions (rng.hpp, math_functions.cpp).

Fillers and Dropout draw from here while a net of pycaffe is built or run, so that a seed gives the weights it gave.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.pycaffe.ziggurat import direct_normals, normal_after

_BLOCK = 1 << 12


class BoostSource:
    """A `layers.draws.Source` on one Mersenne twister (mt19937), seeded with a number, or by the system."""

    def __init__(self, seed: int | None = None) -> None:
        self._twister = np.random.MT19937()
        self._twister._legacy_seeding(int.from_bytes(os.urandom(4), "little") if seed is None else seed)  # type: ignore[attr-defined]
        self._left = np.empty(0, np.uint32)  # drawn, but not used yet

    def uniform(self, blob: Tensor, low: float, high: float) -> Tensor:
        """boost::uniform_real<float> from `low` to the next float behind `high` (caffe_rng_uniform)."""
        least, most = np.float32(low), np.nextafter(np.float32(high), np.float32(np.inf))
        found = np.empty(0, np.float32)
        while len(found) < blob.numel():
            units = self._take(blob.numel() - len(found)).astype(np.float32) / np.float32(2.0**32)
            values = units * (most - least) + least
            found = np.concatenate([found, values[values < most]])
        return _filled(blob, found)

    def normal(self, blob: Tensor, mean: float, std: float) -> Tensor:
        """boost::normal_distribution<float> (caffe_rng_gaussian)."""
        wanted = blob.numel()
        found = np.empty(wanted, np.float32)
        done = 0
        while done < wanted:
            raw = self._peek(min(wanted - done, 1 << 20))
            values, direct = direct_normals(raw)
            used = 0
            for stop in [*np.flatnonzero(~direct).tolist(), len(raw)]:
                if stop < used:  # it went into the number before
                    continue
                found[done : done + stop - used] = values[used:stop]
                done += stop - used
                if stop == len(raw):
                    used = stop
                    break
                found[done], used = self._slow_normal(raw, stop)
                done += 1
                if used > len(raw):
                    break
            self._skip(used)
        return _filled(blob, found * np.float32(std) + np.float32(mean))

    def bernoulli(self, blob: Tensor, probability: float) -> Tensor:
        """boost::bernoulli_distribution<float> (caffe_rng_bernoulli); a probability of 0 draws nothing."""
        if probability == 0:
            return blob.zero_()
        bound = np.float32(np.float32(probability) * np.float32(2**32 - 1))
        return _filled(blob, self._take(blob.numel()).astype(np.float32) <= bound)

    def state(self) -> tuple[Any, np.ndarray]:
        """Where it stands, for `restore`."""
        return self._twister.state, self._left

    def restore(self, state: tuple[Any, np.ndarray]) -> None:
        """Give the numbers again that followed `state`."""
        self._twister.state, self._left = state

    def _slow_normal(self, raw: np.ndarray, start: int) -> tuple[np.float32, int]:
        """The number that begins at raw[start], and how many of the numbers from the front of `raw` are then used."""
        place = start + 1

        def draw() -> int:
            nonlocal place
            place += 1
            return int(self._peek(place)[place - 1])

        return normal_after(int(raw[start]), draw), place

    def _peek(self, count: int) -> np.ndarray:
        """The next `count` numbers, which stay the next ones."""
        if count > len(self._left):
            more = self._twister.random_raw(max(count - len(self._left), _BLOCK)).astype(np.uint32)
            self._left = np.concatenate([self._left, more])
        return self._left[:count]

    def _skip(self, count: int) -> None:
        self._left = self._left[count:]

    def _take(self, count: int) -> np.ndarray:
        taken = self._peek(count)
        self._skip(count)
        return taken


def _filled(blob: Tensor, values: np.ndarray) -> Tensor:
    return blob.copy_(torch.from_numpy(values).view(blob.shape))
