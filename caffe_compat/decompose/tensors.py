"""Tensor factorizations of a filter bank: Tucker-2 (Kim et al. 2016) and CP (Lebedev et al. 2015)."""

from __future__ import annotations

import numpy as np

from caffe_compat.decompose.directions import Chain, Rank, principal, settle_signs, single_rank
from caffe_compat.errors import RankError

TUCKER_STEPS, CP_STEPS, CP_STARTS = 10, 400, 2


def tucker(weight: np.ndarray, rank: Rank) -> Chain:
    """Tucker-2: W[n, c, ...] ~ sum_{o, i} Out[n, o] Core[o, i, ...] In[i, c], with orthonormal In and Out (HOOI).

    weight: [filters, channels, height, width]; rank: (inputs, outputs). Gives In [inputs, channels, 1, 1],
    Core [outputs, inputs, height, width], Out [filters, outputs, 1, 1]. The spectrum holds the energy of each output
    of the core, largest first, then the squared error.
    """
    inputs, outputs = _pair(weight, rank)
    filters, channels = weight.shape[:2]
    by_filter = weight.reshape(filters, channels, -1)
    by_channel = by_filter.swapaxes(0, 1)
    into = principal(by_channel.reshape(channels, -1))[0][:, :inputs]
    for _ in range(TUCKER_STEPS):
        reduced = np.einsum("nck,ci->nik", by_filter, into).reshape(filters, -1)
        out = _first(reduced, outputs)
        reduced = np.einsum("cnk,no->cok", by_channel, out).reshape(channels, -1)
        into = _first(reduced, inputs)
    reduced = np.einsum("nck,ci->nik", by_filter, into).reshape(filters, -1)
    out = _first(reduced, outputs)
    core = (out.T @ reduced).reshape(outputs, inputs, *weight.shape[2:])
    energies = np.square(core).reshape(outputs, -1).sum(axis=1)
    error = max(float(np.square(weight).sum() - energies.sum()), 0.0)
    chain = (into.T[:, :, None, None], core, out[:, :, None, None])
    return chain, np.append(energies, error)


def cp(weight: np.ndarray, rank: Rank) -> Chain:
    """CP: W[n, c, i, j] ~ sum_r Out[n, r] V[r, i] H[r, j] In[r, c], by alternating least squares from a seeded start.

    weight: [filters, channels, height, width]. Gives In [rank, channels, 1, 1], the depthwise V [rank, 1, height, 1]
    and H [rank, 1, 1, width], and Out [filters, rank, 1, 1]; each component's norm is shared evenly by the four.
    The spectrum holds the energy of each component, largest first; components are not orthogonal.
    """
    if weight.ndim != 4:
        raise RankError(f"cp needs a kernel with height and width; the weight is {weight.shape}")
    count = single_rank(rank, weight.size // max(weight.shape))
    generator = np.random.default_rng(0)
    runs = [_alternate(weight, count, generator) for _ in range(CP_STARTS)]
    factors = min(runs, key=lambda run: run[0])[1]
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    scale = np.prod(norms, axis=0)
    order = np.argsort(-scale, kind="stable")
    even = scale[order] ** 0.25
    n, c, i, j = ((f / np.where(s > 0, s, 1))[:, order] * even for f, s in zip(factors, norms, strict=True))
    chain = (c.T[:, :, None, None], i.T[:, None, :, None], j.T[:, None, None, :], n[:, :, None, None])
    return chain, np.square(scale[order])


def _pair(weight: np.ndarray, rank: Rank) -> tuple[int, int]:
    if weight.ndim != 4:
        raise RankError(f"tucker needs a kernel with height and width; the weight is {weight.shape}")
    if not isinstance(rank, tuple) or len(rank) != 2:
        raise RankError(f"rank {rank} is not a pair; tucker takes two numbers, for channels and for filters")
    inputs, outputs = rank
    filters, channels, *kernel = weight.shape
    area = int(np.prod(kernel))
    if not (1 <= inputs <= min(channels, outputs * area) and 1 <= outputs <= min(filters, inputs * area)):
        raise RankError(f"rank {rank} is out of range; the largest possible is ({channels}, {filters})")
    return int(inputs), int(outputs)


def _first(matrix: np.ndarray, count: int) -> np.ndarray:
    """The first `count` left singular vectors of `matrix`."""
    return settle_signs(np.linalg.svd(matrix, full_matrices=False)[0][:, :count])


def _alternate(weight: np.ndarray, count: int, generator: np.random.Generator) -> tuple[float, list[np.ndarray]]:
    """The squared error and the factor of each axis after alternating least squares; columns are components."""
    factors = [generator.standard_normal((size, count)) for size in weight.shape]
    total = float(np.square(weight).sum())
    error = np.inf
    for _ in range(CP_STEPS):
        for axis in range(4):
            others = [factor for index, factor in enumerate(factors) if index != axis]
            products = np.einsum("ar,br,cr->abcr", *others).reshape(-1, count)
            gram = np.prod([other.T @ other for other in others], axis=0)
            target = np.moveaxis(weight, axis, 0).reshape(len(factors[axis]), -1) @ products
            factors[axis] = np.linalg.lstsq(gram, target.T, rcond=None)[0].T
        # after the last solve <W, approximation> = |approximation|^2, so the error needs no reconstruction
        approximation = float((factors[3] * target).sum())
        previous, error = error, max(total - approximation, 0.0)
        if previous - error <= 1e-9 * total:
            break
    return error, factors
