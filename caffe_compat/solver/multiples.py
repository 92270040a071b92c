"""Many tensors at once, each with a factor of its own: one call for all tensors of the same factor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def add_multiples(targets: Sequence[Tensor], tensors: Sequence[Tensor], factors: Sequence[float]) -> None:
    """target += factor * tensor, in place; a factor of 0 leaves its target as it is."""
    for factor, chosen in _equal(tuple(factors)):
        torch._foreach_add_([targets[i] for i in chosen], [tensors[i] for i in chosen], alpha=factor)


@lru_cache(maxsize=64)
def _equal(factors: tuple[float, ...]) -> tuple[tuple[float, tuple[int, ...]], ...]:
    """Each factor other than 0, and the places that have it."""
    places: dict[float, list[int]] = {}
    for place, factor in enumerate(factors):
        if factor != 0:
            places.setdefault(factor, []).append(place)
    return tuple((factor, tuple(chosen)) for factor, chosen in places.items())
