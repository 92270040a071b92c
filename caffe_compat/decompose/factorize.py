"""Factorizations of a filter bank: a chain of smaller banks that gives nearly the same outputs.

Each method takes the filters of one group, [filters, channels, *kernel], and gives the chain's weights in the order in
which they are applied, with the spectrum. `factorize` runs it group by group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from caffe_compat.decompose.clusters import kmeans
from caffe_compat.decompose.directions import Chain, Rank, balance, leading
from caffe_compat.decompose.tensors import cp, tucker
from caffe_compat.errors import RankError, WeightsError


@dataclass(frozen=True)
class Factorization:
    """What one filter bank became.

    basis: applied first, [rank, channels / group, ...]. coefficients: applied last, [filters, rank / group, ...],
    1x1 or 1 x width. middle: what stands between, for Tucker-2 and CP. All have the dtype of the weight.
    spectrum: float64, 1-D, energies (squares of singular values) that add up to the weight's squared norm. The k-th
    values of all groups stand side by side, so the first `rank` are kept and the rest is the squared error. (CP has
    no such law: there it holds the energy of each component.)
    shape, group: of the weight.
    """

    basis: np.ndarray
    coefficients: np.ndarray
    spectrum: np.ndarray
    shape: tuple[int, ...]
    middle: tuple[np.ndarray, ...] = ()
    group: int = 1

    @property
    def factors(self) -> tuple[np.ndarray, ...]:
        """The weights of the chain, first applied first."""
        return (self.basis, *self.middle, self.coefficients)

    @property
    def rank(self) -> int:
        """Channels between the chain's last two links, over all groups."""
        return len(self.factors[-2])

    def reconstruct(self) -> np.ndarray:
        """The one bank that the chain equals, in the weight's shape and dtype."""
        return compose(self.factors, self.group).reshape(self.shape).astype(self.basis.dtype)


def factorize(weight: np.ndarray, rank: Rank, method: str = "pca", group: int = 1) -> Factorization:
    """Factorize a bank of filters, [filters, channels / group, *kernel] or [outputs, inputs], at `rank`.

    rank: over all groups; (inputs, outputs) for "tucker". method: one of METHODS.
    Raises RankError for a rank that does not fit, WeightsError for values that are not finite.
    """
    if method not in METHODS:
        raise RankError(f"method is '{method}'; known: {', '.join(METHODS)}")
    if not np.isfinite(weight).all():
        raise WeightsError(f"weight of shape {weight.shape} has values that are not finite")
    share = _rank_of_group(rank, group)
    try:
        parts = [METHODS[method](part.astype(np.float64), share) for part in np.split(weight, group)]
    except RankError as error:
        raise RankError(f"rank {rank} in {group} groups: in each, {error}" if group > 1 else str(error)) from error
    factors = [np.concatenate(same).astype(weight.dtype) for same in zip(*(chain for chain, _ in parts), strict=True)]
    spectrum = np.stack([energies for _, energies in parts], axis=1).reshape(-1)
    return Factorization(factors[0], factors[-1], spectrum, weight.shape, tuple(factors[1:-1]), group)


def pca(weight: np.ndarray, rank: Rank) -> Chain:
    """Cross-filter PCA: W ~ V V^T W with V the leading eigenvectors of W W^T, which is not centred.

    Wen et al. 2017, section 5.2, as the fork's filter_pca has it: the basis has the norms, the coefficients are
    orthonormal. W: [filters, channels * kernel]; at most min of the two ranks.
    """
    directions, projected, energies = leading(_rows(weight), rank)
    return _basis_and_mixing(weight, projected, directions), energies


def svd(weight: np.ndarray, rank: Rank) -> Chain:
    """The same approximation as `pca` with the root of each singular value on either side (the fork's filter_svd)."""
    directions, projected, energies = leading(_rows(weight), rank)
    directions, projected = balance(directions, projected)
    return _basis_and_mixing(weight, projected, directions), energies


def separable(weight: np.ndarray, rank: Rank) -> Chain:
    """A vertical and a horizontal bank: W[n, c, i, j] ~ sum_k H[n, k, j] V[k, c, i] (Tai et al. 2016, closed form).

    weight: [filters, channels, height, width]; gives V [rank, channels, height, 1] and H [filters, rank, 1, width],
    with the root of each singular value on either side.
    """
    if weight.ndim != 4:
        raise RankError(f"separable filters need a kernel with height and width; the weight is {weight.shape}")
    filters, channels, height, width = weight.shape
    matrix = weight.transpose(1, 2, 0, 3).reshape(channels * height, filters * width)
    vertical, horizontal, energies = leading(matrix, rank)
    vertical, horizontal = balance(vertical, horizontal)
    v = vertical.T.reshape(-1, channels, height, 1)
    h = horizontal.reshape(-1, filters, 1, width).swapaxes(0, 1)
    return (v, h), energies


METHODS: dict[str, Callable[[np.ndarray, Rank], Chain]] = {
    "pca": pca,
    "svd": svd,
    "kmeans": kmeans,
    "separable": separable,
    "tucker": tucker,
    "cp": cp,
}


def _rank_of_group(rank: Rank, group: int) -> Rank:
    shares = tuple(value // group for value in (rank if isinstance(rank, Sequence) else (rank,)))
    if min(shares) < 1:
        raise RankError(f"rank {rank} is too small; it must be at least {group}, one for each group")
    return shares if isinstance(rank, Sequence) else shares[0]


def _rows(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(len(weight), -1)


def _basis_and_mixing(weight: np.ndarray, basis: np.ndarray, mixing: np.ndarray) -> tuple[np.ndarray, ...]:
    ones = (1,) * (weight.ndim - 2)
    return basis.reshape(-1, *weight.shape[1:]), mixing.reshape(*mixing.shape, *ones)


def compose(factors: Sequence[np.ndarray], group: int = 1) -> np.ndarray:
    """The one bank, float64, that a chain equals of which no two links reach along the same axis of the kernel."""
    groups = [np.split(factor.astype(np.float64), group) for factor in factors]
    return np.concatenate([_compose_group(chain) for chain in zip(*groups, strict=True)])


def _compose_group(factors: Sequence[np.ndarray]) -> np.ndarray:
    whole = factors[0]
    for factor in factors[1:]:
        if factor.shape[1] != len(whole):  # depthwise: each filter reads its own channel
            factor = np.eye(len(whole))[:, :, None, None] * factor
        kernel = [a * b for a, b in zip(whole.shape[2:], factor.shape[2:], strict=True)]
        joined = np.einsum("nm...,mc...->nc...", factor, whole) if factor.ndim > 2 else factor @ whole
        whole = joined.reshape(len(factor), whole.shape[1], *kernel)
    return whole
