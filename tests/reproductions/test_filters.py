"""What the figures of filters are made of: spectra, discriminants, basis filters."""

import importlib.util
from itertools import pairwise

import numpy as np
import pytest

from reproductions.filters import basis_colours, discriminants, spectrum


def test_a_spectrum_of_orthogonal_filters_is_their_energies_sorted_and_summed():
    weight = np.zeros((3, 1, 2, 2), np.float32)
    weight[0, 0, 0, 0], weight[1, 0, 1, 1], weight[2, 0, 0, 1] = 1, 3, 2  # energies 1, 9, 4 of 14
    assert spectrum(weight) == pytest.approx([9 / 14, 13 / 14, 1])


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn, of the extra plots")
def test_clusters_that_are_there_are_found_numbered_by_size_and_parted():
    draw = np.random.default_rng(0)
    sizes = (5, 12, 8, 3)
    rows = [np.eye(4)[i] + 0.02 * draw.standard_normal(4) for i, size in enumerate(sizes) for _ in range(size)]
    found = np.array(discriminants(np.array(rows, np.float32)))
    assert [int((found[:, 2] == place).sum()) for place in range(4)] == sorted(sizes, reverse=True)
    start = np.cumsum((0, *sizes))
    groups = [found[a:b] for a, b in pairwise(start)]
    assert all(len(set(group[:, 2])) == 1 for group in groups)
    centres = np.array([group[:, :2].mean(axis=0) for group in groups])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)[~np.eye(4, dtype=bool)]
    assert apart.min() > 3 * max(group[:, :2].std(axis=0).max() for group in groups)


def test_basis_filters_are_colours_with_the_strongest_first():
    weight = np.zeros((2, 3, 2, 1), np.float32)
    weight[0, 2, 1, 0] = 0.5  # a little red (the last of blue, green, red) below
    weight[1, 0, 0, 0] = 2.0  # much blue above
    assert basis_colours(weight) == [["0000ff", "000000"], ["000000", "ff0000"]]
