"""The loops of the force alone: a bank's matrix as plain loops make it, the same on any number of threads."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="the package numba is not installed")

from caffe_compat.kernels import force

COUNTS = [1, 7, 33, 60, 2, 18]
SHORTEST = 1e-4


def banks() -> list[np.ndarray]:
    random = np.random.default_rng(5)
    filters = [random.standard_normal((count, 50)) for count in COUNTS]
    filters[2][4] = 1e-6
    filters[3][10] = 1.001 * filters[3][3]
    return filters


def plain(filters: np.ndarray, power: int, least: float) -> np.ndarray:
    """M of g = M w, pair by pair."""
    length = np.linalg.norm(filters, axis=1)
    matrix = np.zeros((len(filters), len(filters)))
    for i in range(len(filters)):
        for j in range(len(filters)):
            if i == j or min(length[i], length[j]) <= SHORTEST:
                continue
            cosine = filters[i] @ filters[j] / length[i] / length[j]
            if (square := 2 - 2 * cosine) > least:
                attraction = square ** (-power / 2)
                matrix[i, j] = -length[i] * attraction / length[j]
                matrix[i, i] += attraction * cosine
    return matrix


def combined(dtype: torch.dtype, power: int, least: float, threads: int) -> tuple[list[torch.Tensor], list[int]]:
    filters = [torch.from_numpy(each).to(dtype) for each in banks()]
    matrices = [bank @ bank.T for bank in filters]
    before = np.cumsum([0, *COUNTS])
    rows = zip(matrices, COUNTS, before, strict=False)
    table = array("q", [word for matrix, count, start in rows for word in (matrix.data_ptr(), count, int(start), -1)])
    room = array("d", [math.nan] * (force.ROOM * sum(COUNTS)))
    loop = force.combine if dtype == torch.float32 else force.combine_doubles
    loop(1, table, len(COUNTS), room, power, SHORTEST, least, threads=threads)
    return matrices, list(table[3::4])


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 2e-4), (torch.float64, 1e-9)])
def test_matrices_are_those_of_plain_loops(dtype, rtol, power):
    """2e-4: of d = 0.5, to the third power, where squares of lengths are rounded to float32."""
    least = 0.25 if dtype == torch.float32 else 1e-8
    matrices, is_far = combined(dtype, power, least, 1)
    for matrix, filters in zip(matrices, banks(), strict=True):
        wanted = plain(filters, power, least)
        np.testing.assert_allclose(matrix, wanted, rtol=rtol, atol=rtol * max(1e-30, np.abs(wanted).max()))
    assert is_far == [1, 1, 0, 0, 1, 1]  # one filter is short, two are parallel


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_are_the_same_on_every_number_of_threads(dtype):
    (one, *others) = (combined(dtype, 1, 0.25, threads) for threads in (1, 2, 3))
    for matrices, is_far in others:
        assert is_far == one[1]
        assert all(map(torch.equal, matrices, one[0]))


def pulled(threads: int) -> list[torch.Tensor]:
    filters = [torch.from_numpy(each).float() for each in banks()]
    gradients = [torch.ones_like(bank) for bank in filters]
    places = zip(filters, gradients, range(len(filters)), strict=True)
    room = 50 + force.LANES
    words = ((bank.data_ptr(), gradient.data_ptr(), *bank.shape, number * room) for bank, gradient, number in places)
    table = array("q", [word for row in words for word in row])
    strengths = array("d", [0.5] * len(filters))
    scratch = array("d", [math.nan] * (room * len(filters)))
    force.add_pulls_to_sum(1, table, len(filters), strengths, scratch, SHORTEST, threads=threads)
    return gradients


def test_pulls_to_the_sum_are_those_of_plain_loops_on_every_number_of_threads():
    for gradients in map(pulled, (1, 2, 3)):
        for gradient, filters in zip(gradients, banks(), strict=True):
            wanted = 1 + 0.5 * plain(filters, 0, -1.0) @ filters
            np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=2e-6)
