"""The force on small filter banks, all of them at once, from their Gram matrices K = w w^T.

With u_i = w_i / |w_i| and d^2 = 2 - 2 u_i.u_j, the force is a combination g = M w of the filters themselves:

    A = 1 / c(d), 0 on the diagonal    M_ij = -|w_i| A_ij / |w_j|    M_ii = sum_j A_ij u_i.u_j

By compiled loops where there are some (small_bank_loops.py). Else torch makes K and M w of each bank, and what lies
between for all at once, on their matrices one behind the other in one vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from caffe_compat.solver.looped import PLAIN, loops_for
from caffe_compat.solver.regularizers.distances import BLOCK, FAR, SHORTEST
from caffe_compat.solver.regularizers.small_bank_loops import add_by_loops

_TWO = torch.tensor(2.0, dtype=torch.float32, device="cpu")


def add_forces(
    banks: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float], power: int
) -> list[int]:
    """Add strength * force, with c(d) = d^power, to the gradients of small banks; the places of those left alone.

    Left are banks that are not small or not plain memory in float32 on the CPU; where torch computes, also those with
    filters that are short or no further than FAR apart, which float32 cannot tell, and all where power is 0.
    """
    places = [place for place, pair in enumerate(zip(banks, gradients, strict=True)) if all(map(_is_small, pair))]
    own, slopes = ([each[place] for place in places] for each in (banks, gradients))
    factors, done = [strengths[place] for place in places], set(places)
    loops = loops_for("force", sum(map(Tensor.numel, own)))
    if loops is not None:
        add_by_loops(loops, own, slopes, factors, power)
    else:
        is_far = _add_far_forces(own, slopes, factors, power) if power and own else [False] * len(own)
        done = {place for place, far in zip(places, is_far, strict=True) if far}
    return [place for place in range(len(banks)) if place not in done]


def _is_small(bank: Tensor) -> bool:
    if bank.dtype != torch.float32 or not bank.is_cpu or bank.dim() < 2 or not 0 < bank.numel() <= BLOCK:
        return False
    return type(bank) in PLAIN and len(bank) ** 2 <= BLOCK and bank.is_contiguous()


def _add_far_forces(
    banks: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float], power: int
) -> list[bool]:
    """Of which banks the force was added: those with filters that are all longer than SHORTEST, and FAR apart."""
    filters = [bank.flatten(1) for bank in banks]
    places = _places(tuple(map(len, filters)))
    cosines = filters[0].new_empty(sum(places.areas))
    for bank, gram in zip(filters, torch.split(cosines, places.areas), strict=True):
        torch.mm(bank, bank.T, out=gram.view(len(bank), -1))
    squares = cosines[places.diagonal]
    inverse = squares.rsqrt()
    by_column = inverse[places.columns]
    cosines.mul_(by_column).mul_(inverse[places.rows])
    distances = torch.add(_TWO, cosines, alpha=-2)  # squared
    distances[places.diagonal] = 4
    is_far = [True] * len(banks)
    if not (distances.min().item() > FAR**2 and squares.min().item() > SHORTEST**2):  # NaN is neither
        pairs = zip(torch.split(distances, places.areas), torch.split(squares, places.counts), strict=True)
        is_far = [bool(near.min() > FAR**2) and bool(own.min() > SHORTEST**2) for near, own in pairs]
    attraction = distances.pow_(-power / 2)
    attraction[places.diagonal] = 0
    own = torch.segment_reduce(cosines.mul_(attraction).double(), "sum", lengths=places.lengths)
    length = squares.mul_(inverse)
    combinations = attraction.mul_(by_column).mul_(length.neg_()[places.rows])
    combinations[places.diagonal] = own.float()
    matrices = torch.split(combinations, places.areas)
    for matrix, bank, gradient, strength, far in zip(matrices, filters, gradients, strengths, is_far, strict=True):
        if far:
            gradient.view(bank.shape).addmm_(matrix.view(len(bank), -1), bank, alpha=strength)
    return is_far


@dataclass(frozen=True)
class _Places:
    """Where values of square matrices are that lie one behind the other, of some number of rows each.

    counts: of rows of each. areas: of the matrices. diagonal: (all rows,). rows, columns: the row, of all, and the
    column of every value, counted so too. lengths: of every row.
    """

    counts: list[int]
    areas: list[int]
    diagonal: Tensor
    rows: Tensor
    columns: Tensor
    lengths: Tensor


@lru_cache(maxsize=16)
def _places(counts: tuple[int, ...]) -> _Places:
    diagonal, columns, row, start = [], [], 0, 0
    for count in counts:
        diagonal.append(start + torch.arange(count) * (count + 1))
        columns.append((row + torch.arange(count)).repeat(count))
        row, start = row + count, start + count * count
    lengths = torch.cat([torch.full((count,), count) for count in counts])
    rows = torch.arange(row).repeat_interleave(lengths)
    return _Places(list(counts), [n * n for n in counts], torch.cat(diagonal), rows, torch.cat(columns), lengths)
