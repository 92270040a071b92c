"""The steps of the solver's types alone, value by value in float64 (sgd_solver.cpp and its heirs)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import numpy as np
import pytest

from tests.kernels.switch import needs_loops

pytestmark = needs_loops

SIZES, RATES = [5, 0, 33, 1, 16], [0.5, 1.0, 0.0, 2.0, -0.25]
M, M2, DELTA, DECAY = 0.9, 0.99, 1e-3, 0.75
Step = Callable[..., tuple[float, ...]]


def sgd(r, w, g, h):
    h = M * h + r * g
    return w - h, g, h


def nesterov(r, w, g, h):
    new = M * h + r * g
    return w - ((1 + M) * new - M * h), g, new


def adagrad(r, w, g, h):
    h = h + g * g
    return w - r * g / (math.sqrt(h) + DELTA), g, h


def rmsprop(r, w, g, h):
    h = DECAY * h + (1 - DECAY) * g * g
    return w - r * g / (math.sqrt(h) + DELTA), g, h


def adadelta(r, w, g, h, h2):
    h = M * h + (1 - M) * g * g
    change = g * math.sqrt((h2 + DELTA) / (h + DELTA))
    return w - r * change, g, h, M * h2 + (1 - M) * change * change


def adam(r, w, g, m, v):
    m, v = M * m + (1 - M) * g, M2 * v + (1 - M2) * g * g
    return w - r * m / (math.sqrt(v) + DELTA), g, m, v


def add_signs(r, a, b):
    return a + r * (float(b > 0) - float(b < 0)), b


STEPS: dict[Step, tuple[int, tuple[float, ...]]] = {  # how many arrays, and the loop's constants
    sgd: (3, (M,)),
    nesterov: (3, (M, 1 + M)),
    adagrad: (3, (DELTA,)),
    rmsprop: (3, (DECAY, 1 - DECAY, DELTA)),
    adadelta: (4, (M, 1 - M, DELTA)),
    adam: (4, (M, 1 - M, M2, 1 - M2, DELTA)),
    add_signs: (2, ()),
}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
@pytest.mark.parametrize("threads", [1, 3])
def test_each_value_takes_the_step_of_its_parameter(step, threads, placed):
    from caffe_compat.kernels import updates

    count, constants = STEPS[step]
    random = np.random.default_rng(0)
    lists = [[random.standard_normal(size).astype(np.float32) for size in SIZES] for _ in range(count)]
    for each in lists[2:]:
        each[:] = [np.abs(values) for values in each]  # sums of squares, most of them
    lists[1][0][:2] = 0
    before = [np.concatenate(each).astype(float) for each in lists]
    arrays = [[placed(values) for values in each] for each in lists]
    every = arrays + arrays[:1] * (updates.ARRAYS - count)
    starts = np.cumsum([0, *SIZES])
    rows = zip(starts, SIZES, *([values.ctypes.data for values in each] for each in every), strict=False)
    table = placed(np.array([*rows], np.int64))
    rates = placed(np.array(RATES))
    loop = getattr(updates, step.__name__)
    loop(1, table, len(SIZES), rates, sum(SIZES), *constants, threads=threads)
    wanted = [step(*values) for values in zip(np.repeat(RATES, SIZES), *before, strict=True)]
    for found, values in zip(arrays, zip(*wanted, strict=True), strict=True):
        np.testing.assert_allclose(np.concatenate(found), values, rtol=1e-5, atol=1e-6)


def test_a_factor_of_0_adds_nothing_of_what_is_no_number():
    from caffe_compat.kernels import updates

    for step, (count, constants) in STEPS.items():
        arrays = [np.ones(3, np.float32) for _ in range(count)]
        if step in (sgd, nesterov, add_signs):
            arrays[1][:] = math.nan, math.inf, -math.inf
        kept = M if step in (sgd, nesterov) else None
        addresses = [values.ctypes.data for values in (*arrays, *arrays[:1] * (updates.ARRAYS - count))]
        table = array("q", [0, 3, *addresses])
        getattr(updates, step.__name__)(1, table, 1, array("d", [0.0]), 3, *constants)
        assert np.isfinite(arrays[0]).all()
        assert kept is None or np.allclose(arrays[2], kept)
