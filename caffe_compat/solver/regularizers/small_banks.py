"""The force on several small filter banks in few calls, where all their filters are long and apart.

What a bank needs of its own is its Gram matrix and one product with its filters. The rest, with u_i.u_j = K_ij,

    d^2 = 2 - 2 K    A = 1 / c(d), 0 on the diagonal    g_i = |w_i| (sum_j A_ij K_ij u_i - sum_j A_ij u_j)

is done for all banks at once, on their matrices one behind the other in one vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.distances import BLOCK, FAR

_TWO = torch.tensor(2.0)


def add_forces(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float], power: int, shortest: float
) -> list[int]:
    """Add strength * force, with c(d) = d^power, to the gradients of small banks; the places of those left alone.

    shortest: the length that a filter must exceed. Left are banks of other kinds, and those with filters that are
    shorter or no further than FAR apart, which float32 cannot tell.
    """
    chosen = [place for place, pair in enumerate(zip(weights, gradients, strict=True)) if _is_small(*pair)]
    if len(chosen) < 2:
        return list(range(len(weights)))
    banks = [weights[place].flatten(1) for place in chosen]
    places = _places(tuple(map(len, banks)))
    cosines = torch.empty(len(places.rows))
    for bank, gram in zip(banks, torch.split(cosines, places.areas), strict=True):
        torch.mm(bank, bank.T, out=gram.view(len(bank), -1))
    squares = cosines[places.diagonal]
    inverse = squares.rsqrt()
    by_column = inverse[places.columns]
    cosines.mul_(by_column).mul_(inverse[places.rows])
    distances = torch.add(_TWO, cosines, alpha=-2)  # squared
    distances[places.diagonal] = 4
    is_apart = [True] * len(banks)
    if not (distances.min().item() > FAR**2 and squares.min().item() > shortest**2):  # NaN is neither
        pairs = zip(torch.split(distances, places.areas), torch.split(squares, places.counts), strict=True)
        is_apart = [bool(near.min() > FAR**2) and bool(own.min() > shortest**2) for near, own in pairs]
    attraction = distances.pow_(-power / 2)
    attraction[places.diagonal] = 0
    own = torch.segment_reduce(cosines.mul_(attraction).double(), "sum", lengths=places.lengths)
    length = squares.mul_(inverse)
    combinations = attraction.mul_(by_column).mul_(length.neg()[places.rows])
    combinations[places.diagonal] = own.float()
    matrices = torch.split(combinations, places.areas)
    done = {
        place: pair
        for place, pair, is_done in zip(chosen, zip(matrices, banks, strict=True), is_apart, strict=True)
        if is_done
    }
    for place, (matrix, bank) in done.items():
        force = matrix.view(len(bank), -1) @ bank
        gradients[place].view(bank.shape).add_(force, alpha=strengths[place])
    return [place for place in range(len(weights)) if place not in done]


def _is_small(weight: Tensor, gradient: Tensor) -> bool:
    if weight.dtype != torch.float32 or weight.is_cuda or weight.dim() < 2 or not 0 < weight.numel() <= BLOCK:
        return False
    return weight.is_contiguous() and gradient.is_contiguous() and gradient.dtype == weight.dtype


@dataclass(frozen=True)
class _Places:
    """Where values of square matrices of `counts` rows are that lie one behind the other.

    diagonal: (all rows,). rows, columns: the row, of all, and the column of every value, counted so too. lengths: of
    every row.
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
