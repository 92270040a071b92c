"""k-means over filters as a factorization.

The fork's filter_kmeans; k-means as matrix factorization is Bauckhage 2015.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from caffe_compat.decompose.directions import Chain, Rank, single_rank

STARTS, STEPS = 10, 300


def kmeans(weight: np.ndarray, rank: Rank) -> Chain:
    """Each filter becomes the centre of its cluster: basis = `rank` centres, coefficients = one-hot.

    weight: [filters, channels, *kernel], clustered as it is, without normalising. The best of ten seeded runs from
    k-means++ centres. A centre is the mean of its filters, so the energies |cluster| |centre|^2, largest first, and
    the squared error, which closes the spectrum, add up to the weight's squared norm.
    """
    clusters = single_rank(rank, len(weight))
    rows = weight.reshape(len(weight), -1)
    generator = np.random.default_rng(0)
    labels = min((_lloyd(rows, clusters, generator) for _ in range(STARTS)), key=lambda run: run[0])[1]
    choice = np.eye(clusters)[labels]
    sizes = choice.sum(axis=0)
    centres = (choice.T @ rows) / np.maximum(sizes, 1)[:, None]
    energies = sizes * np.square(centres).sum(axis=1)
    order = np.argsort(-energies, kind="stable")
    error = np.square(rows - centres[labels]).sum()
    basis = centres[order].reshape(clusters, *weight.shape[1:])
    coefficients = choice[:, order].reshape(len(weight), clusters, *(1,) * (weight.ndim - 2))
    return (basis, coefficients), np.append(energies[order], error)


def _lloyd(rows: np.ndarray, clusters: int, generator: np.random.Generator) -> tuple[float, np.ndarray]:
    """The squared error and the cluster of each row where Lloyd's steps no longer change it."""
    centres = _spread_centres(rows, clusters, generator)
    labels = np.full(len(rows), -1)
    for _ in range(STEPS):
        distances = cdist(rows, centres, "sqeuclidean")
        nearest = distances.argmin(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        for index in np.unique(labels):
            centres[index] = rows[labels == index].mean(axis=0)
    return float(np.square(rows - centres[labels]).sum()), labels


def _spread_centres(rows: np.ndarray, clusters: int, generator: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur and Vassilvitskii 2007): each next centre with probability by its squared distance."""
    chosen = [int(generator.integers(len(rows)))]
    while len(chosen) < clusters:
        distances = cdist(rows, rows[chosen], "sqeuclidean").min(axis=1)
        total = distances.sum()
        chances = distances / total if total > 0 else None
        chosen.append(int(generator.choice(len(rows), p=chances)))
    return rows[chosen].copy()
