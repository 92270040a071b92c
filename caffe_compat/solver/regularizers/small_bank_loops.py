"""The force on small filter banks by compiled loops (kernels/force.py): every bank, however near its filters are."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from types import ModuleType

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.distances import FAR, NEAREST, SHORTEST


def add_by_loops(
    loops: ModuleType, banks: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float], power: int
) -> None:
    """Add strength * force, with c(d) = d^power, to the gradient of each bank; all contiguous, float32, on the CPU.

    Where c(d) = 1 the pairs add up. Else first in float32, which cannot tell how near filters are that are near: the
    banks that have such are left for float64.
    """
    if power == 0:
        _add_pulls_to_sum(loops, banks, gradients, strengths)
        return
    far = _add_far_forces(loops, banks, gradients, strengths, power)
    left = [place for place in range(len(banks)) if not far[place]]
    if left:
        banks, gradients = ([each[place] for place in left] for each in (banks, gradients))
        _add_in_doubles(loops, banks, gradients, [strengths[place] for place in left], power)


def _table(banks: Sequence[Tensor], gradients: Sequence[Tensor], starts: Sequence[int]) -> array[int]:
    """A row for each bank: addresses, filters, values of each, where its room begins, and a word that loops write."""
    triples = zip(banks, gradients, starts, strict=True)
    rows = [(w.data_ptr(), g.data_ptr(), len(w), w.numel() // len(w), start, 0) for w, g, start in triples]
    return array("q", chain.from_iterable(rows))


def _room(doubles: int) -> array[float]:
    return array("d", bytes(8 * doubles))


def _add_pulls_to_sum(
    loops: ModuleType, banks: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float]
) -> None:
    *starts, room = accumulate((bank.numel() // len(bank) + loops.SUMS for bank in banks), initial=0)
    table, work = _table(banks, gradients, starts), 4 * sum(map(Tensor.numel, banks))
    loops.add_pulls_to_sum(work, table, len(banks), array("d", strengths), _room(room), SHORTEST)
    torch.autograd.graph.increment_version(gradients)


def _add_far_forces(
    loops: ModuleType, banks: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float], power: int
) -> array[int]:
    """1 for each bank to which the force was added: whose filters are all longer than SHORTEST, and FAR apart; or 0."""
    counts = list(map(len, banks))
    *starts, room = accumulate((loops.ROOM * n + (n * n + 1) // 2 for n in counts), initial=0)
    table, work = _table(banks, gradients, starts), sum(len(bank) * bank.numel() for bank in banks) // 32
    loops.add_far_forces(work, table, len(banks), array("d", strengths), _room(room), power, SHORTEST, FAR * FAR)
    torch.autograd.graph.increment_version(gradients)
    return table[5::6]


def _add_in_doubles(
    loops: ModuleType,
    banks: Sequence[Tensor],
    gradients: Sequence[Tensor],
    strengths: Sequence[float],
    power: int,
) -> None:
    """g = M w from K = w w^T, both products by torch."""
    filters = [bank.flatten(1).double() for bank in banks]
    matrices = [torch.mm(bank, bank.T) for bank in filters]
    counts = list(map(len, matrices))
    *before, rows = accumulate(counts, initial=0)
    table = array("q", chain.from_iterable(zip(map(Tensor.data_ptr, matrices), counts, before, strict=True)))
    work = sum(count * count for count in counts)
    loops.combine_doubles(work, table, len(counts), _room(loops.ROOM * rows), power, SHORTEST, NEAREST * NEAREST)
    for matrix, bank, gradient, strength in zip(matrices, filters, gradients, strengths, strict=True):
        gradient.view(bank.shape).add_(torch.mm(matrix, bank).float(), alpha=strength)
