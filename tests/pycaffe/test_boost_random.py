"""Random numbers: Caffe's own bits where they were recorded, Boost's definitions where not, and laws."""

import numpy as np
import torch
from scipy import stats

from caffe_compat.pycaffe.boost_random import BoostSource
from caffe_compat.pycaffe.ziggurat import normal_after


def _raw(seed: int, count: int) -> np.ndarray:
    """The 32-bit numbers of a Mersenne twister seeded with one number."""
    twister = np.random.RandomState(seed)
    return np.frombuffer(twister.bytes(4 * count), dtype="<u4")


def test_a_seed_gives_the_weights_that_caffe_gave() -> None:
    """The first weights of a gaussian filler of std 1 after set_random_seed(5), of real Caffe."""
    found = BoostSource(5).normal(torch.empty(5), 0, 1)
    np.testing.assert_allclose(found, [0.387344, -0.0542145, 0.569005, 0.932647, -0.155914], rtol=2e-6)


def test_many_normals_at_once_are_those_drawn_one_by_one() -> None:
    raw = iter(_raw(7, 40_000).tolist())
    one_by_one = [normal_after(next(raw), lambda: next(raw)) for _ in range(30_000)]
    source = BoostSource(7)
    parts = [source.normal(torch.empty(size), 0, 1).numpy() for size in (1, 2, 997, 29_000)]
    assert np.array_equal(np.concatenate(parts), np.float32(one_by_one))


def test_normals_are_normal_into_their_tails() -> None:
    found = BoostSource(11).normal(torch.empty(400_000), 3, 2).numpy()
    assert stats.kstest((found - 3) / 2, "norm").pvalue > 0.001
    beyond = np.abs((found - 3) / 2) > 3.4426198558966521  # what the last layer leaves to the tail: 0.0576 %
    assert 154 < beyond.sum() < 306  # 230, five standard errors either way


def test_uniforms_are_boosts() -> None:
    raw = _raw(3, 6).astype(np.float32) / np.float32(2**32)
    np.testing.assert_allclose(BoostSource(3).uniform(torch.empty(2, 3), -2, 4).reshape(-1), raw * 6 - 2, rtol=1e-6)


def test_bernoullis_are_boosts() -> None:
    source = BoostSource(3)
    found = source.bernoulli(torch.empty(1000), 0.3).numpy()
    assert np.array_equal(found, _raw(3, 1000).astype(np.float32) <= np.float32(0.3) * np.float32(2**32 - 1))
    before = BoostSource(4)
    assert not before.bernoulli(torch.empty(9), 0).any()
    assert np.array_equal(before.uniform(torch.empty(3), 0, 1), BoostSource(4).uniform(torch.empty(3), 0, 1))


def test_without_a_seed_two_sources_differ() -> None:
    first, second = (BoostSource().uniform(torch.empty(8), 0, 1).numpy() for _ in range(2))
    assert not np.array_equal(first, second)
