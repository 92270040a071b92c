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


def table_of(rows: list[tuple[int, ...]]) -> array[int]:
    return array("q", [word for row in rows for word in row])


def combined(power: int, threads: int) -> list[torch.Tensor]:
    matrices = [torch.from_numpy(bank @ bank.T) for bank in banks()]
    before = np.cumsum([0, *COUNTS]).tolist()
    table = table_of([(matrix.data_ptr(), len(matrix), start) for matrix, start in zip(matrices, before, strict=False)])
    room = array("d", [math.nan] * (force.ROOM * sum(COUNTS)))
    force.combine_doubles(1, table, len(COUNTS), room, power, SHORTEST, 1e-8, threads=threads)
    return matrices


@pytest.mark.parametrize("power", [1, 2, 3])
def test_matrices_are_those_of_plain_loops_on_every_number_of_threads(power):
    first = combined(power, 1)
    for matrix, filters in zip(first, banks(), strict=True):
        wanted = plain(filters, power, 1e-8)
        np.testing.assert_allclose(matrix, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())
    assert all(all(map(torch.equal, first, combined(power, threads))) for threads in (2, 3))


SHAPES = [(7, 40), (33, 75), (60, 50), (2, 32), (18, 31), (5, 3), (1, 9), (4, 64), (9, 1)]


def pulled_apart(filters: list[np.ndarray], power: int, threads: int) -> tuple[list[torch.Tensor], list[int]]:
    """Gradients of ones after 0.5 times the force, and which banks got it."""
    weights = [torch.from_numpy(bank).float() for bank in filters]
    gradients = [torch.ones_like(bank) for bank in weights]
    sizes = [force.ROOM * len(bank) + (len(bank) ** 2 + 1) // 2 for bank in weights]
    starts = np.cumsum([0, *sizes]).tolist()
    triples = zip(weights, gradients, starts, strict=False)
    table = table_of([(w.data_ptr(), g.data_ptr(), *w.shape, start, -1) for w, g, start in triples])
    room, strengths = array("d", [math.nan] * sum(sizes)), array("d", [0.5] * len(weights))
    force.add_far_forces(1, table, len(weights), strengths, room, power, SHORTEST, 0.01, threads=threads)
    return gradients, list(table[5::6])


@pytest.mark.parametrize("power", [1, 2, 3])
def test_forces_of_far_filters_are_those_of_plain_loops_on_every_number_of_threads(power):
    random = np.random.default_rng(8)
    filters = [random.standard_normal(shape) for shape in SHAPES]
    filters[-1] = np.full((9, 1), 2.0)  # all near
    filters[0][3] = 1e-6
    filters[2][10] = 1.001 * filters[2][3]
    first, done = pulled_apart(filters, power, 1)
    assert done == [0, 1, 0, 1, 1, 1, 1, 1, 0]
    for gradient, bank, is_done in zip(first, filters, done, strict=True):
        added = 0.5 * plain(bank, power, 0.01) @ bank if is_done else np.zeros_like(bank)
        np.testing.assert_allclose(gradient, 1 + added, rtol=1e-6, atol=3e-6 * max(1, np.abs(added).max()))
    for threads in (2, 3):
        others, found = pulled_apart(filters, power, threads)
        assert found == done
        assert all(map(torch.equal, first, others))


def pulled(threads: int) -> list[torch.Tensor]:
    filters = [torch.from_numpy(each).float() for each in banks()]
    gradients = [torch.ones_like(bank) for bank in filters]
    places = zip(filters, gradients, range(len(filters)), strict=True)
    size = 50 + force.SUMS
    table = table_of([(w.data_ptr(), g.data_ptr(), *w.shape, number * size, 0) for w, g, number in places])
    room, strengths = array("d", [math.nan] * (size * len(filters))), array("d", [0.5] * len(filters))
    force.add_pulls_to_sum(1, table, len(filters), strengths, room, SHORTEST, threads=threads)
    return gradients


def test_pulls_to_the_sum_are_those_of_plain_loops_on_every_number_of_threads():
    for gradients in map(pulled, (1, 2, 3)):
        for gradient, filters in zip(gradients, banks(), strict=True):
            wanted = 1 + 0.5 * plain(filters, 0, -1.0) @ filters
            np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=2e-6)
