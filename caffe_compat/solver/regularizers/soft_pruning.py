"""Soft pruning of filters: at prune points those of least norm shrink by a factor alpha, and may grow back.

    SFP          He et al., IJCAI 2018: alpha = 0, a fixed rate
    ASFP         He et al., T. Cybernetics 2019: alpha = 0, the rate grows from 0 to 3/4 in the first 1/8 of the epochs
    SRFP, ASRFP  Cai et al., ICPR 2020: alpha(e) = alpha0 exp(-ka e), ka = -ln(sigma / (alpha0 + 0.01 sigma)) / T

of T epochs e = 0, 1, ...; `keep` is the share of filters that stays, and int(N (1 - keep)) of N filters shrink, in
double precision as there: none of 10 at keep 0.9. From pruning_cifar10_resnet.py of he-y/soft-filter-pruning at 919c399
and, for SRFP, from cailinhang/PGMPF at 09221a1, whose hard mask is off then.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.optimize import brentq
from torch import Tensor

SLACK = 1e-9  # of an epoch: shares of T are not exact
SMALLEST_ALPHA = 1e-4  # below it alpha counts as 0


def choose_filters(weight: Tensor, keep: float, norm: float = 2) -> Tensor:
    """Which filters of weight (filters, channels, height, width) shrink: (filters,) bool, those of least norm.

    Equal norms: the first ones. A weight with fewer than 4 axes is left alone.
    """
    count = int(len(weight) * (1 - keep)) if weight.dim() > 3 else 0
    chosen = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    lengths = torch.linalg.vector_norm(weight.flatten(1), norm, dim=1)
    chosen[torch.sort(lengths, stable=True).indices[:count]] = True
    return chosen


def alpha(epoch: int, epochs: int, first: float = 1.0, sigma: float = 1e-5, end: float = 0.9) -> float:
    """The factor after `epoch` (from 0) of `epochs`: `first` exp(-ka e), and 0 from the share `end` of them on."""
    if epoch >= end * epochs - SLACK or not first:
        return 0.0
    decay = -math.log(sigma / (first + 0.01 * sigma)) / epochs
    return first * math.exp(-decay * epoch)


def _fixed(epoch: int, epochs: int, keep: float, distance: float) -> float:
    """keep."""
    return keep


def _exp(epoch: int, epochs: int, keep: float, distance: float) -> float:
    """keep + (1 - keep) exp(-k e), k = ln 4 / (D T): the short form of ASFP, which never reaches keep."""
    return keep + (1 - keep) * math.exp(-math.log(4) / (epochs * distance) * epoch)


def _poly(epoch: int, epochs: int, keep: float, distance: float) -> float:
    """1 - (1 - keep) (1 - (1 - (e + 1) / T)^3)."""
    return 1 - (1 - keep) * (1 - (1 - (epoch + 1) / (epochs + 1e-7)) ** 3)


def _three_points(epoch: int, epochs: int, keep: float, distance: float) -> float:
    """1 - P, P = goal (1 - x^(e / (D E))) / (1 - x^(1 / D)), (1 - x) / (1 - x^(1 / D)) = 3/4.

    E = T - 1, goal = 1 - keep: through P(0) = 0, P(D E) = 3/4 goal and P(E) = goal, all met exactly.
    """
    last = epochs - 1
    if epoch >= last:
        return keep
    power = 1 / distance
    x = float(brentq(lambda x: (1 - x) / (1 - x**power) - 0.75, 1e-12, 1 - 1e-9, xtol=1e-16, rtol=1e-15))
    share: float = (1 - x ** (epoch * power / last)) / (1 - x**power)
    return 1 - (1 - keep) * share


KEEPS: dict[str, Callable[[int, int, float, float], float]] = {
    "fixed": _fixed, "exp": _exp, "poly": _poly, "three_points": _three_points
}  # fmt: skip


def keep_at(policy: str, epoch: int, epochs: int, keep: float, distance: float = 0.125, end: float = 1.0) -> float:
    """The share of filters that stays after `epoch` (from 0) of `epochs`, by policy; `keep` from the share `end` on."""
    return keep if epoch >= end * epochs - SLACK else KEEPS[policy](epoch, epochs, keep, distance)
