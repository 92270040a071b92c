"""EPruner (Lin et al., TNNLS 2021): affinity propagation finds the filters of a layer that stand for the others.

    s_ij = -|A_i - A_j|^2 of filters as vectors, s_kk = beta * median_i s_ik, with the zero at i = k in the median

and from a = r = 0, both damped by a half (new = old / 2 + update / 2):

    r_ik <- s_ik - max over k' != k of (a_ik' + s_ik')
    a_ik <- min(0, r_kk + sum over i' not in {i, k} of max(0, r_i'k)),   a_kk <- sum over i' != k of max(0, r_i'k)

i joins the k of largest s_ik, and each cluster's exemplar becomes its member of largest sum of s within it. As
utils/common.py of lmbxmu/EPruner at ddb844f with scikit-learn 0.20.1, whose noise of one rounding, always the same
numbers, tells equal filters apart. A larger beta, a preference further below 0, leaves fewer filters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_compat.errors import RankError

ITERATIONS = 200
STEADY = 15
PREFERENCE_BETA = 0.75


@dataclass(frozen=True)
class Exemplars:
    """kept: the exemplars, ascending. labels: of every filter, the index into `kept` of the one that stands for it."""

    kept: tuple[int, ...]
    labels: tuple[int, ...]


def similarities(weight: NDArray[np.floating]) -> NDArray[np.float64]:
    """s_ij for weight (filters, ...), with 0 on the diagonal; (filters, filters)."""
    filters = weight.reshape(len(weight), -1).astype(np.float64)
    squares = np.einsum("ij,ij->i", filters, filters)
    distances = np.maximum(-2 * (filters @ filters.T) + squares[:, None] + squares, 0)  # rounded as scikit-learn's
    np.fill_diagonal(distances, 0)
    negated: NDArray[np.float64] = -distances
    return negated


def medians(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """median_i s_ik of every k, the zero of the diagonal counted."""
    found: NDArray[np.float64] = np.median(similarity, axis=0)
    return found


def find_exemplars(weight: NDArray[np.floating], beta: float = PREFERENCE_BETA) -> Exemplars:
    """The exemplars among the filters of weight (filters, ...); RankError where none comes out."""
    similarity = similarities(weight)
    if len(weight) == 1:
        return Exemplars((0,), (0,))
    np.fill_diagonal(similarity, beta * medians(similarity))
    if _all_alike(similarity):  # where messages would only swing, scikit-learn gives one cluster, or one a filter
        own = bool(similarity[0, 0] >= similarity[0, 1])
        every = tuple(range(len(weight)))
        return Exemplars(every, every) if own else Exemplars((0,), (0,) * len(weight))
    similarity += _noise(similarity)
    first = _propagate(similarity)
    if not len(first):
        raise RankError(f"no exemplar among {len(weight)} filters at preference beta {beta:g}; try another one")
    clusters = similarity[:, first].argmax(1)
    clusters[first] = np.arange(len(first))
    members = [np.flatnonzero(clusters == k) for k in range(len(first))]
    best = np.array([each[similarity[np.ix_(each, each)].sum(0).argmax()] for each in members])
    labels = similarity[:, best].argmax(1)
    labels[best] = np.arange(len(best))
    order = np.argsort(best)
    places = np.empty(len(best), int)
    places[order] = np.arange(len(best))
    return Exemplars(tuple(best[order].tolist()), tuple(places[labels].tolist()))


def _all_alike(similarity: NDArray[np.float64]) -> bool:
    """Whether all pairs are equally similar, and all preferences equal."""
    others = similarity[~np.eye(len(similarity), dtype=bool)]
    return bool((others == others[0]).all() and (similarity.diagonal() == similarity[0, 0]).all())


def _noise(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    kind = np.finfo(np.float64)
    drawn = np.random.RandomState(0).standard_normal(similarity.shape)
    noise: NDArray[np.float64] = (kind.eps * similarity + kind.tiny * 100) * drawn
    return noise


def _propagate(similarity: NDArray[np.float64]) -> NDArray[np.intp]:
    """The k with a_kk + r_kk > 0 at the end."""
    count, rows = len(similarity), np.arange(len(similarity))
    available, responsible = np.zeros_like(similarity), np.zeros_like(similarity)
    chosen = np.zeros((count, STEADY), bool)
    for iteration in range(ITERATIONS):
        both = available + similarity
        best = both.argmax(1)
        largest = both[rows, best]
        both[rows, best] = -np.inf
        second = both.max(1)
        update = similarity - largest[:, None]
        update[rows, best] = similarity[rows, best] - second
        responsible = responsible / 2 + update / 2
        positive = np.maximum(responsible, 0)
        positive[rows, rows] = responsible[rows, rows]
        update = positive.sum(0) - positive
        own = update.diagonal().copy()
        update = np.minimum(update, 0)
        update[rows, rows] = own
        available = available / 2 + update / 2
        exemplars = available.diagonal() + responsible.diagonal() > 0
        chosen[:, iteration % STEADY] = exemplars
        if iteration >= STEADY:
            times = chosen.sum(1)
            if exemplars.any() and ((times == 0) | (times == STEADY)).all():
                break
    return np.flatnonzero(exemplars)
