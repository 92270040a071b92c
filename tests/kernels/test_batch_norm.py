"""The loops of BatchNorm alone, step after step, against sums in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels.switch import needs_loops

pytestmark = needs_loops

EPS, STAYS = 1e-3, 0.75
CASES = [  # rows (the last by so many vectors shorter), lanes, channels, groups
    (1, 0, 16, 16, 1),
    (8, 0, 48, 3, 1),
    (21, 3, 96, 24, 2),
    (40, 2, 64, 1, 3),
    (5, 0, 32, 32, 1),
]


@dataclass
class Values:
    """Arrays of `size` values, float32, whose channels are innermost; `of` has those of a channel in a column."""

    size: int
    lanes: int
    channels: int
    groups: int
    x: np.ndarray
    diff: np.ndarray
    other: np.ndarray
    scale: np.ndarray
    shift: np.ndarray

    @property
    def count(self) -> int:
        return self.size // self.channels

    def of(self, values: np.ndarray) -> np.ndarray:
        return values.astype(float).reshape(-1, self.channels)

    def rows(self, values: np.ndarray) -> np.ndarray:
        return np.resize(values, self.lanes)

    def terms(self) -> np.ndarray:
        """The mean, the factor and the offset of each lane."""
        mean, inverse = self.statistics()
        terms = mean, inverse * self.scale, self.shift
        return np.stack([self.rows(each) for each in terms]).astype(np.float32)

    def statistics(self) -> np.ndarray:
        x = self.of(self.x)
        return np.stack([x.mean(0), 1 / np.sqrt(x.var(0) + EPS)])


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Values:
    rows, shorter, lanes, channels, groups = request.param
    size = rows * lanes - 16 * shorter
    random = np.random.default_rng(rows)
    x, diff, other = (random.standard_normal(size).astype(np.float32) for _ in range(3))
    scale, shift = (random.uniform(0.5, 2, channels).astype(np.float32) for _ in range(2))
    return Values(size, lanes, channels, groups, x + 3, diff, other, scale, shift - 1)


def doubles(*shape: int) -> np.ndarray:
    return np.full(shape, np.nan)


def floats(*shape: int) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_moments_are_sums_of_values_and_squares(case, threads, placed):
    from caffe_compat.kernels import batch_norm

    sums = placed(doubles(case.groups, 2, case.channels))
    between = placed(floats(case.groups, 2, case.lanes)), placed(doubles(case.groups, 2, case.lanes))
    words = placed(case.x), case.size, case.lanes, case.channels, case.groups, sums
    batch_norm.moments(1, *words, *between, threads=threads)
    x = case.of(case.x)
    np.testing.assert_allclose(sums.sum(0), [x.sum(0), (x**2).sum(0)], rtol=1e-6)


@pytest.mark.parametrize("is_scaled", [True, False])
def test_statistics_make_terms_and_move_the_blobs(case, is_scaled, placed):
    from caffe_compat.kernels import batch_norm

    x = case.of(case.x)
    sums = np.zeros((case.groups, 2, case.channels))
    sums[-1] = x.sum(0), (x**2).sum(0)
    saved, terms = placed(doubles(2, case.channels)), placed(floats(3, case.lanes))
    blobs = [
        placed(np.full(size, value, np.float32)) for size, value in ((case.channels, 2), (case.channels, 3), (1, 5))
    ]
    pair = (placed(case.scale), placed(case.shift)) if is_scaled else (0, 0)
    words = placed(sums), case.channels, case.groups, case.count, EPS, *pair, case.lanes
    batch_norm.statistics(1, *words, saved, terms, *blobs, STAYS)
    np.testing.assert_allclose(saved, case.statistics(), rtol=1e-9)
    if not is_scaled:
        case.scale[:], case.shift[:] = 1, 0
    np.testing.assert_allclose(terms, case.terms(), rtol=1e-6, atol=1e-6)
    unbiased = x.var(0, ddof=1) if case.count > 1 else x.var(0)
    for blob, wanted in zip(blobs, (1.5 + x.mean(0), 2.25 + unbiased, 4.75), strict=True):
        np.testing.assert_allclose(blob, np.broadcast_to(wanted, blob.shape), rtol=1e-6)


@pytest.mark.parametrize("rectifies", [0, 1])
@pytest.mark.parametrize("is_sum", [False, True])
def test_tops_are_normalised_added_to_and_rectified(case, rectifies, is_sum, placed):
    from caffe_compat.kernels import batch_norm

    top, terms = placed(floats(case.size)), case.terms()
    words = placed(case.x), case.size, case.lanes, placed(terms), rectifies, placed(case.other) if is_sum else 0
    batch_norm.normalised(1, *words, top, threads=2)
    mean, factor, offset = terms[:, : case.channels].astype(float)
    wanted = (case.of(case.x) - mean) * factor + offset + (case.of(case.other) if is_sum else 0)
    np.testing.assert_allclose(case.of(top), np.maximum(wanted, 0) if rectifies else wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("masked_by", ["nothing", "the bottom", "the top", "the top of a sum"])
def test_the_gradient_of_the_bottom_is_that_of_the_formula(case, masked_by, placed):
    """dx = a (g - mean(g) - u mean(g u)), with u = (x - m) / deviation, a = scale / deviation, g where it is not 0."""
    from caffe_compat.kernels import batch_norm

    saved, terms = case.statistics(), case.terms()
    mean, factor, offset = terms[:, : case.channels]
    plain = ((case.of(case.x).astype(np.float32) - mean) * factor + offset).ravel()
    top, has_top = plain + case.other if masked_by == "the top of a sum" else plain, masked_by.startswith("the top")
    g = case.of(case.diff) + (case.of(case.other) if masked_by == "the top of a sum" else 0)
    g = g if masked_by == "nothing" else np.where(case.of(top) > 0, g, 0)
    gradient, x, placed_terms = placed(case.diff), placed(case.x), placed(terms)
    sums, between = placed(doubles(case.groups, 2, case.channels)), placed(floats(case.groups, 2, case.lanes))
    masks = int(masked_by == "the bottom")
    others = placed(np.maximum(top, 0)) if has_top else 0, placed(case.other) if masked_by == "the top of a sum" else 0
    words = gradient, case.size, case.lanes, case.channels, x, placed_terms, masks, *others, case.groups
    batch_norm.gradient_sums(1, *words, sums, between, threads=2)
    scale, shift, slopes = placed(floats(case.channels)), placed(floats(case.channels)), placed(floats(2, case.lanes))
    sizes = case.channels, case.groups, case.count, case.lanes
    batch_norm.gradient_terms(1, sums, *sizes, placed(saved), placed_terms, scale, shift, slopes)
    batch_norm.gradients(1, gradient, case.size, case.lanes, x, placed_terms, masks, slopes, gradient, threads=2)
    unit = (case.of(case.x) - saved[0]) * saved[1]
    rough = {"rtol": 1e-4, "atol": 2e-5}  # of sums of some hundred values in float32
    np.testing.assert_allclose(scale, (g * unit).sum(0), **rough)
    np.testing.assert_allclose(shift, g.sum(0), **rough)
    wanted = case.scale * saved[1] * (g - g.mean(0) - unit * (g * unit).mean(0))
    np.testing.assert_allclose(case.of(gradient), wanted, **rough)


def test_groups_are_as_many_as_the_size_says():
    from caffe_compat.kernels.batch_norm import groups_for

    assert [groups_for(size) for size in (16, 1 << 16, 1 << 20, 1 << 30)] == [1, 1, 16, 128]
