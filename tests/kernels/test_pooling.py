"""The loops of pooling alone, against plain loops over windows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.kernels.switch import needs_loops
from tests.reference.pooling import FLT_MAX, Pool

pytestmark = needs_loops

CASES = {  # (batch, height, width, channels), windows
    "Caffe's usual": ((2, 5, 6, 17), Pool((3, 3), (2, 2), (0, 0))),
    "pads of two sizes": ((1, 7, 4, 16), Pool((3, 4), (1, 1), (1, 2))),
    "larger than the image": ((1, 3, 2, 33), Pool((5, 4), (2, 1), (2, 2))),
    "with gaps between": ((2, 7, 8, 19), Pool((1, 2), (3, 3), (0, 0), ceil=False)),
    "one of all": ((3, 4, 3, 16), Pool((4, 3), (1, 1), (0, 0))),
}


def values(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Numbers from -8 to 8, of which many are the same; sums of them are exact."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def planes(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float64).transpose(0, 3, 1, 2)


def sizes(shape: tuple[int, ...], pool: Pool) -> tuple[int, ...]:
    return (*shape, *pool.output(shape[1:3]), *pool.kernel, *pool.stride, *pool.pad)


def top_shape(shape: tuple[int, ...], pool: Pool) -> tuple[int, ...]:
    return (shape[0], *pool.output(shape[1:3]), shape[3])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threads", [1, 2])
def test_maxima_their_places_and_gradients(case, threads, placed):
    from caffe_compat.kernels import pooling

    (shape, pool), nowhere = CASES[case], pooling.NOWHERE
    x, diff = values(shape), values(top_shape(shape, pool), 1)
    x[0, 0, 0, :2] = math.nan, -math.inf
    bottom, above, alone, top = map(placed, (x, diff, np.zeros_like(diff), np.zeros_like(diff)))
    places, below = placed(np.full(diff.shape, 77, np.uint8)), placed(np.full_like(x, math.nan))
    words = (*sizes(shape, pool), shape[3])
    pooling.maxima(1, bottom, alone, *words, -FLT_MAX, threads=threads)
    pooling.places_of_maxima(1, bottom, top, *words, -FLT_MAX, places, -math.inf, threads=threads)
    pooling.to_places(1, below, above, *words, 0.0, places, threads=threads)
    wanted, index = pool.maximum(planes(x))
    np.testing.assert_array_equal(planes(top), wanted)
    np.testing.assert_array_equal(planes(alone), wanted)
    np.testing.assert_array_equal(planes(places) == nowhere, index == -1)
    np.testing.assert_array_equal(planes(below), pool.maximum_gradient(planes(x), planes(diff)))


@pytest.mark.parametrize("case", CASES)
def test_a_floor_before_and_a_least_maximum_are_relus(case, placed):
    from caffe_compat.kernels import pooling

    shape, pool = CASES[case]
    x, diff = values(shape) - 5, values(top_shape(shape, pool), 1)
    bottom, above, top, below = map(placed, (x, diff, diff, np.full_like(x, math.nan)))
    places, words = placed(np.zeros(diff.shape, np.uint8)), (*sizes(shape, pool), shape[3])
    pooling.places_of_maxima(1, bottom, top, *words, -FLT_MAX, places, 0.0)
    pooling.to_places(1, below, above, *words, 0.0, places)
    rectified = np.maximum(planes(x), 0)
    np.testing.assert_array_equal(planes(top), pool.maximum(rectified)[0])
    gradient = pool.maximum_gradient(rectified, planes(diff))
    np.testing.assert_array_equal(planes(below), np.where(planes(x) > 0, gradient, 0))
    pooling.maxima(1, bottom, top, *words, 0.0)
    np.testing.assert_array_equal(planes(top), np.maximum(pool.maximum(planes(x))[0], 0))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threads", [1, 2])
def test_averages_and_their_gradients(case, threads, placed):
    from caffe_compat.kernels import pooling

    shape, pool = CASES[case]
    x, diff = values(shape), values(top_shape(shape, pool), 1)
    bottom, above, top = map(placed, (x, diff, np.zeros_like(diff)))
    shared, below = placed(np.zeros_like(diff)), placed(np.full_like(x, math.nan))
    words = (*sizes(shape, pool), shape[3])
    pooling.averages(1, bottom, top, *words, -math.inf, 1, threads=threads)
    np.testing.assert_allclose(planes(top), pool.average(planes(x)), rtol=1e-6)
    pooling.shares(1, 0, above, *words, 0.0, 1, shared, threads=threads)
    pooling.from_shares(1, below, shared, *words, 0.0, 0, threads=threads)
    wanted = pool.average_gradient(planes(x), planes(diff))
    np.testing.assert_allclose(planes(below), wanted, rtol=1e-5, atol=1e-5)
    pooling.from_shares(1, below, shared, *words, 0.0, bottom, threads=threads)
    np.testing.assert_allclose(planes(below), np.where(planes(x) > 0, wanted, 0), rtol=1e-5, atol=1e-5)


def test_tops_may_be_some_channels_of_others(placed):
    from caffe_compat.kernels import pooling

    shape, pool = CASES["Caffe's usual"]
    x, size = values(shape), pool.output(shape[1:3])
    bottom, wide = placed(x), placed(np.full((shape[0], *size, 17 + 5), 99, np.float32))
    words = (*sizes(shape, pool), 17 + 5)
    for loop, rest in ((pooling.maxima, (-FLT_MAX,)), (pooling.averages, (-math.inf, 1))):
        loop(1, bottom, wide[..., 3:20], *words, *rest)
        assert (wide[..., :3] == 99).all() and (wide[..., 20:] == 99).all()
    np.testing.assert_allclose(planes(wide[..., 3:20]), pool.average(planes(x)), rtol=1e-6)
