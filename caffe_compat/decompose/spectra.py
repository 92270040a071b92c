"""Energies of filters, and how many directions hold a share of them."""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-12  # of the whole: a share that float64 leaves this little under `keep` counts as reached


def energies(weight: np.ndarray) -> np.ndarray:
    """Squared singular values of the filters as rows, float64, largest first; min(filters, values a filter) of them.

    They are the eigenvalues of the uncentred W W^T (Wen et al. 2017, section 5.2; the fork divides them by
    channels * kernel - 1, which no share notices).
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    values: np.ndarray = np.linalg.eigvalsh(gram)[::-1]
    return values.clip(min=0)


def smallest_rank(spectrum: np.ndarray, share: float) -> int:
    """The smallest count of leading energies that hold `share` of all."""
    reached = np.cumsum(spectrum)
    return min(int(np.searchsorted(reached, (share - ROUNDING) * reached[-1])) + 1, len(spectrum))
