"""IncReg (Wang et al., NIPS workshop 2018, IJCNN 2019): penalties that rise and fall by rank until a group goes.

Each group g, a column of the matrix of filters or a row, which is a filter, has a lambda_g >= 0; diff += lambda_g w.
In iteration t, n = t + 1, of a layer with R groups still to go:

    1. the groups are ranked by (L1 norm, index), those that went by their h in its place, and for those that are left
       h_g = ((n - 1) h_g + rank) / n
    2. with j = 0, 1, ... the place of g by (h, index) among those left, u = 1/4, a = ln(2 / u) / R, N* = -ln(u) / a:
       lambda_g = max(lambda_g + delta(j), 0),
       delta(j) = A e^(-a j) for j < N*, else 2 u A - A e^(-a (2 N* - j)), which is 0 at j = R and negative beyond
    3. where lambda_g reaches the target, the group is masked: its weights are 0 at once, and h_g is below all others
       (a row's stays as it was, unless the place that the code writes to by mistake is that of a row)

Scheme 2, for columns: A e^(-a1 j) for j < R, else -A e^(-a2 (n' - 1 - j)), with n' groups left,
a1 = ln(1 / k) / (R - 1), a2 = ln(1 / k) / (n' - 1 - R), 0 where that divides by 0, and
k = max(0.75 pruned share / prune_ratio, 0.05).

As the branches Reg_Col and Reg_Row of sgd_solver.cpp, MingSun-Tse/Caffe_IncReg at 32b9d62.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

U = 0.25
BELOW = 1e6  # how far the rank of a group that went lies below the iteration
_MIDDLE, _WIDTH = 0.05, 0.04  # of the sigmoid that scales the target


@dataclass(frozen=True)
class IncRegConfig:
    """prune_method, AA, target_reg (scaled), speedup, IF_update_row_col and IF_scheme1_when_Reg_rank."""

    method: str
    step: float
    target_reg: float
    scaled: bool
    speedup: float
    update_row_col: bool
    scheme1: bool

    @property
    def by_columns(self) -> bool:
        return self.method == "Reg_Col"


@dataclass(frozen=True)
class Groups:
    """The columns or rows of one layer. penalty, rank: lambda and h, (groups,). gone: (groups,) bool, at the target."""

    penalty: Tensor
    rank: Tensor
    gone: Tensor


def target_multiplier(increment: float = 0.2) -> float:
    """What the code multiplies target_reg with: 3 (s - 1/2) + 1, s a sigmoid of the step of the ratio, always 0.2."""
    low = (0.25 - 1) / 3 + 0.5
    steepness = math.log(1 / low - 1) / _WIDTH
    return 3 * (1 / (1 + math.exp(-steepness * (increment - _MIDDLE))) - 0.5) + 1


def step_groups(
    groups: Groups,
    norms: Tensor,
    to_go: int,
    iteration: int,
    config: IncRegConfig,
    target: float,
    done: float,
    width: int,
) -> Groups:
    """The groups after one iteration; norms: L1 norm of each, (groups,). to_go: R, above 0.

    done: the pruned share over prune_ratio, as of this iteration's forward pass, for scheme 2. width: columns of the
    layer, for rows.
    """
    n, left = iteration + 1, ~groups.gone
    below = int(groups.gone.sum())
    order = torch.sort(norms.where(left, groups.rank), stable=True).indices
    rank = torch.empty_like(groups.rank)
    rank[order] = torch.arange(len(order), device=rank.device).to(rank.dtype)
    mean = ((n - 1) * groups.rank + rank) / n
    mean = mean.where(left, groups.rank)
    places = torch.sort(mean.where(left, -math.inf), stable=True).indices[below:]
    penalty = groups.penalty.clone()
    penalty[places] = (penalty[places] + _deltas(len(places), to_go, config, done).to(penalty)).clamp(min=0)
    goes = left & (penalty >= target)
    sunk = iteration + 1 - BELOW - (penalty - target)
    if config.by_columns:
        mean = sunk.where(goes, mean)
    else:
        for row in goes.nonzero().flatten().tolist():  # index r of the flat array in place of r times the row's length
            if row % width == 0:
                mean[row // width] = sunk[row]
    return replace(groups, penalty=penalty, rank=mean, gone=groups.gone | goes)


@lru_cache(maxsize=256)  # of each layer the same, until a group goes
def _deltas(left: int, to_go: int, config: IncRegConfig, done: float) -> Tensor:
    j = torch.arange(left, dtype=torch.float64)
    step = config.step
    if config.scheme1 or not config.by_columns:
        a = math.log(2 / U) / to_go
        turn = -math.log(U) / a
        return (step * (-a * j).exp()).where(j < turn, 2 * U * step - step * (-a * (2 * turn - j)).exp())
    k = max(0.75 * done, 0.05)
    first, second = (math.log(1 / k) / size if size else 0.0 for size in (to_go - 1, left - 1 - to_go))
    return (step * (-first * j).exp()).where(j < to_go, -step * (-second * (left - 1 - j)).exp())
