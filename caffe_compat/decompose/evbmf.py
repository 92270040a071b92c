"""Empirical variational Bayes matrix factorization: the rank that noise of unknown strength leaves visible.

The global solution of Nakajima, Sugiyama, Babacan and Tomioka, "Global analytic solution of fully-observed variational
Bayesian matrix factorization", JMLR 2013; Kim et al. 2016 choose Tucker-2 ranks with it.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

TAU = 2.5129  # of the threshold tau* ~ 2.5129 sqrt(alpha), equation (30) there


def evbmf_rank(matrix: np.ndarray) -> int:
    """How many singular values of `matrix` (any shape, float) stand above the estimated noise; 0 when none does."""
    short, long = sorted(matrix.shape)
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    if values[0] == 0:
        return 0
    scaled = values / values[0]  # the rank does not depend on scale, the search for the noise is steadier
    alpha = short / long
    tau = TAU * np.sqrt(alpha)
    edge = (1 + tau) * (1 + alpha / tau)
    variance = _noise_variance(np.square(scaled), short, long, alpha, edge)
    return int((np.square(scaled) > long * variance * edge).sum())


def _noise_variance(squares: np.ndarray, short: int, long: int, alpha: float, edge: float) -> float:
    """The noise variance of least free energy between its bounds (their theorem 2)."""
    most = min(int(np.ceil(short / (1 + alpha))) - 1, short - 1)
    tail = squares[most:]
    upper = float(squares.sum() / (short * long))
    lower = float(max(squares[min(most, short - 1)] / (long * edge), tail.mean() / long))
    if not lower < upper:
        return upper

    def free_energy(variance: float) -> float:
        x = np.maximum(squares / (long * variance), 1e-300)
        noise, signal = x[x <= edge], x[x > edge]
        gap = signal - (1 + alpha)
        tau = 0.5 * (gap + np.sqrt(gap**2 - 4 * alpha))
        shrunk = signal - tau + np.log((tau + 1) / signal) + alpha * np.log(tau / alpha + 1)
        return float((noise - np.log(noise)).sum() + shrunk.sum())

    found = minimize_scalar(free_energy, bounds=(lower, upper), method="bounded", options={"xatol": 1e-12 * upper})
    return float(found.x)
