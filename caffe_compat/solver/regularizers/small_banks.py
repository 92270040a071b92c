"""The force on small filter banks, all of them at once, from their Gram matrices K = w w^T.

With u_i = w_i / |w_i| and d^2 = 2 - 2 u_i.u_j, the force is a combination g = M w of the filters themselves:

    A = 1 / c(d), 0 on the diagonal    M_ij = -|w_i| A_ij / |w_j|    M_ii = sum_j A_ij u_i.u_j

Each bank needs of its own K and the product M w. What lies between is done for all banks at once: by a compiled loop
(kernels/force.py), or by torch on the matrices one behind the other. How near filters are that come near each other
float32 cannot tell: there the loop goes over the same in float64, and torch leaves the bank to another way. Where
c(d) = 1 the pairs add up, and a loop needs no matrix.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from types import ModuleType

import torch
from torch import Tensor

from caffe_compat.solver.looped import PLAIN, loops_for
from caffe_compat.solver.regularizers.distances import BLOCK, FAR, NEAREST, SHORTEST

_TWO = torch.tensor(2.0)


def add_forces(
    banks: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float], power: int
) -> list[int]:
    """Add strength * force, with c(d) = d^power, to the gradients of small banks; the places of those left alone.

    Left are banks that are not small or not plain memory in float32 on the CPU; where torch computes, also those with
    filters that are short or no further than FAR apart, and all where power is 0.
    """
    chosen = [place for place, pair in enumerate(zip(banks, gradients, strict=True)) if all(map(_is_small, pair))]
    loops = loops_for("force", sum(banks[place].numel() for place in chosen))
    if loops is not None and power == 0:
        _add_pulls_to_sum(loops, banks, gradients, strengths, chosen)
        done = set(chosen)
    else:
        done = _add_combinations(loops, banks, gradients, strengths, power, chosen) if power else set()
    return [place for place in range(len(banks)) if place not in done]


def _is_small(bank: Tensor) -> bool:
    if bank.dtype != torch.float32 or not bank.is_cpu or bank.dim() < 2 or not 0 < bank.numel() <= BLOCK:
        return False
    return type(bank) in PLAIN and len(bank) ** 2 <= BLOCK and bank.is_contiguous()


def _add_combinations(
    loops: ModuleType | None,
    banks: Sequence[Tensor],
    gradients: Sequence[Tensor],
    strengths: Sequence[float],
    power: int,
    chosen: Sequence[int],
) -> set[int]:
    """Add M w to the gradients at the places `chosen`; the places where that was done."""
    done: set[int] = set()
    for dtype, distance in ((torch.float32, FAR), (torch.float64, NEAREST)):
        left = [place for place in chosen if place not in done]
        if not left or (loops is None and dtype == torch.float64):
            break
        filters = [banks[place].flatten(1).to(dtype) for place in left]
        matrices = [torch.mm(bank, bank.T) for bank in filters]
        is_far = _combine(loops, matrices, power, distance)
        for place, matrix, bank, holds in zip(left, matrices, filters, is_far, strict=True):
            if not holds and dtype == torch.float32:
                continue
            if dtype == torch.float32:
                gradients[place].view(bank.shape).addmm_(matrix, bank, alpha=strengths[place])
            else:
                gradients[place].view(bank.shape).add_(torch.mm(matrix, bank).float(), alpha=strengths[place])
            done.add(place)
    return done


def _combine(loops: ModuleType | None, matrices: list[Tensor], power: int, distance: float) -> Sequence[int]:
    """Make M of each K, in place; whether a bank's filters are all longer than SHORTEST and further apart."""
    if loops is None:
        return _combine_by_torch(matrices, power, distance)
    counts = list(map(len, matrices))
    *before, filters = accumulate(counts, initial=0)
    rows = zip(map(Tensor.data_ptr, matrices), counts, before, counts, strict=True)
    table, room = array("q", chain.from_iterable(rows)), array("d", bytes(8 * loops.ROOM * filters))
    loop = loops.combine if matrices[0].dtype == torch.float32 else loops.combine_doubles
    loop(sum(n * n for n in counts), table, len(counts), room, power, SHORTEST, distance * distance)
    return table[3::4]


def _combine_by_torch(matrices: list[Tensor], power: int, distance: float) -> Sequence[int]:
    """The same in float32; the matrix of a bank that is near or short is left in some state."""
    places = _places(tuple(map(len, matrices)))
    cosines = torch.cat([matrix.flatten() for matrix in matrices])
    squares = cosines[places.diagonal]
    inverse = squares.rsqrt()
    by_column = inverse[places.columns]
    cosines.mul_(by_column).mul_(inverse[places.rows])
    distances = torch.add(_TWO, cosines, alpha=-2)  # squared
    distances[places.diagonal] = 4
    is_far = [True] * len(matrices)
    if not (distances.min().item() > distance**2 and squares.min().item() > SHORTEST**2):  # NaN is neither
        pairs = zip(torch.split(distances, places.areas), torch.split(squares, places.counts), strict=True)
        is_far = [bool(near.min() > distance**2) and bool(own.min() > SHORTEST**2) for near, own in pairs]
    attraction = distances.pow_(-power / 2)
    attraction[places.diagonal] = 0
    own = torch.segment_reduce(cosines.mul_(attraction).double(), "sum", lengths=places.lengths)
    length = squares.mul_(inverse)
    combinations = attraction.mul_(by_column).mul_(length.neg_()[places.rows])
    combinations[places.diagonal] = own.float()
    for matrix, combination in zip(matrices, torch.split(combinations, places.areas), strict=True):
        matrix.copy_(combination.view(matrix.shape))
    return is_far


def _add_pulls_to_sum(
    loops: ModuleType,
    banks: Sequence[Tensor],
    gradients: Sequence[Tensor],
    strengths: Sequence[float],
    chosen: Sequence[int],
) -> None:
    """The force where c(d) = 1, at the places `chosen`."""
    shapes = [(len(banks[place]), banks[place].numel() // len(banks[place])) for place in chosen]
    *starts, room = accumulate((elements + loops.LANES for _, elements in shapes), initial=0)
    rows = [
        (banks[place].data_ptr(), gradients[place].data_ptr(), *shape, start)
        for place, shape, start in zip(chosen, shapes, starts, strict=True)
    ]
    own = array("d", [strengths[place] for place in chosen])
    work = 4 * sum(filters * elements for filters, elements in shapes)
    table = array("q", chain.from_iterable(rows))
    loops.add_pulls_to_sum(work, table, len(rows), own, array("d", bytes(8 * room)), SHORTEST)
    torch.autograd.graph.increment_version([gradients[place] for place in chosen])


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
