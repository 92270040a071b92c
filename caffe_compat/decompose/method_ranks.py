"""The smallest rank at which the chain of a method keeps a share of a filter bank's energy: each method has its own."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from caffe_compat.decompose.bank import FilterBank
from caffe_compat.decompose.clusters import kmeans
from caffe_compat.decompose.directions import Rank
from caffe_compat.decompose.factorize import METHODS
from caffe_compat.decompose.spectra import energies, smallest_rank
from caffe_compat.errors import RankError

log = logging.getLogger(__name__)


def rank_of_method(bank: FilterBank, keep: float, method: str) -> Rank:
    """The rank over all groups, each of which keeps a share `keep` (in (0, 1]) of its energy; a pair for "tucker"."""
    if not 0 < keep <= 1:
        raise RankError(f"keep is {keep}; it must be above 0 and at most 1")
    if method not in METHODS:
        raise RankError(f"layer '{bank.layer}': method is '{method}'; known: {', '.join(METHODS)}")
    if method == "cp":
        raise RankError(f"layer '{bank.layer}': no energies tell the rank of method 'cp'; give ranks")
    if method in _NEED_PLANE and bank.weight.ndim != 4:
        raise RankError(
            f"layer '{bank.layer}': method '{method}' needs filters of height and width; these are {bank.weight.shape}"
        )
    ranks = [_RULES[method](part.astype(np.float64), keep) for part in np.split(bank.weight, bank.group)]
    largest = tuple(bank.group * max(sizes) for sizes in zip(*ranks, strict=True))
    return largest if len(largest) > 1 else largest[0]


def _principal(part: np.ndarray, keep: float) -> tuple[int, ...]:
    return (smallest_rank(energies(part), keep),)


def _separable(part: np.ndarray, keep: float) -> tuple[int, ...]:
    """Of the matrix with a row for every channel and height (see `separable`)."""
    filters, channels, height, width = part.shape
    return (smallest_rank(energies(part.transpose(1, 2, 0, 3).reshape(channels * height, filters * width)), keep),)


def _tucker(part: np.ndarray, keep: float) -> tuple[int, ...]:
    """Inputs and outputs, each by the energies of its own unfolding: together they lose at most 2 (1 - keep)."""
    inputs = smallest_rank(energies(part.swapaxes(0, 1)), keep)
    outputs = smallest_rank(energies(part), keep)
    area = int(np.prod(part.shape[2:]))
    return min(inputs, outputs * area), min(outputs, inputs * area)


def _clusters(part: np.ndarray, keep: float) -> tuple[int, ...]:
    """By bisection, for only the clusters themselves tell what they keep; as many as filters keep all."""
    total = float(np.square(part).sum())
    below, enough = 0, len(part)
    while enough - below > 1:
        middle = (below + enough) // 2
        lost = float(kmeans(part, middle)[1][-1])
        log.debug("k-means at rank %d loses %g of the energy", middle, lost / total if total else 0)
        if lost <= (1 - keep) * total:
            enough = middle
        else:
            below = middle
    return (enough,)


_NEED_PLANE = ("separable", "tucker")
_RULES: dict[str, Callable[[np.ndarray, float], tuple[int, ...]]] = {
    "pca": _principal,
    "svd": _principal,
    "kmeans": _clusters,
    "separable": _separable,
    "tucker": _tucker,
}
