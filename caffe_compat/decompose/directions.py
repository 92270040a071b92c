"""Leading directions of a matrix: the one computation under PCA, SVD, separable filters and Tucker."""

from __future__ import annotations

import numpy as np

from caffe_compat.errors import RankError

Rank = int | tuple[int, ...]
Chain = tuple[tuple[np.ndarray, ...], np.ndarray]  # weights in the order they are applied, and the spectrum


def principal(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leading directions U [rows, r] of `matrix` and U^T matrix [r, columns], r = min(rows, columns), largest first.

    The rows of U^T matrix are orthogonal, their norms are the singular values. eigh of the Gram matrix where rows are
    the fewer (in float64, which float32 data cannot tell from an SVD), else an SVD.
    """
    rows, columns = matrix.shape
    if rows <= columns:
        directions = np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1]
    else:
        directions = np.linalg.svd(matrix, full_matrices=False)[0]
    directions = settle_signs(directions)
    return directions, directions.T @ matrix


def settle_signs(directions: np.ndarray) -> np.ndarray:
    """Columns turned so that the entry of largest magnitude of each is positive: the one place that decides signs."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    return np.where(largest < 0, -directions, directions)


def leading(matrix: np.ndarray, rank: Rank) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first `rank` of `principal`, and all energies (squared singular values), float64."""
    count = single_rank(rank, min(matrix.shape))
    directions, projected = principal(matrix)
    return directions[:, :count], projected[:count], np.square(projected).sum(axis=1)


def balance(directions: np.ndarray, projected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the root of each singular value, the norm of a row of `projected`, from one side to the other."""
    root = np.sqrt(np.linalg.norm(projected, axis=1))
    return directions * root, projected / np.where(root > 0, root, 1)[:, None]


def single_rank(rank: Rank, largest: int) -> int:
    """`rank` as one number from 1 to `largest`, else a RankError."""
    if not isinstance(rank, int | np.integer):
        raise RankError(f"rank {rank} is a list; this method takes one number")
    if not 1 <= rank <= largest:
        raise RankError(f"rank {rank} is out of range; the largest possible is {largest}")
    return int(rank)
