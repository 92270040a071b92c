"""The sum with its ReLU, and the gradient behind it, value by value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.kernels.switch import needs_loops

pytestmark = needs_loops

SIZE = 16 * 37


def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3, 4, SIZE).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 3])
def test_sums_are_rectified_and_no_number_stays_none(threads, placed):
    from caffe_compat.kernels import sums

    first, second = values(0), values(1)
    first[:3], second[:3] = (math.nan, math.inf, -math.inf), (1, math.inf, 5)
    top = placed(np.zeros(SIZE, np.float32))
    sums.rectified_sum(1, placed(first), placed(second), SIZE, top, threads=threads)
    wanted = [total if math.isnan(total) else max(total, 0.0) for total in map(float, first + second)]
    np.testing.assert_array_equal(top, wanted)


@pytest.mark.parametrize("has_other", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_stay_where_the_top_is_more_than_0(threads, has_other, placed):
    from caffe_compat.kernels import sums

    above, other, top = values(0), values(1), values(2)
    top[0], above[1], top[1], above[2], top[2] = math.nan, math.nan, 0, math.inf, 1
    gradient = placed(above)
    sums.masked_gradient(1, gradient, SIZE, placed(top), placed(other) if has_other else 0, threads=threads)
    total = above + other if has_other else above
    np.testing.assert_array_equal(gradient, [0 if t <= 0 else g for t, g in zip(top, total, strict=True)])
