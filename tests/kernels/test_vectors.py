"""Vectors in loops against NumPy, lane by lane."""

from __future__ import annotations

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="the package numba is not installed")

from caffe_compat.kernels.kernel import bytes_at, floats_at, kernel, number  # noqa: E402
from caffe_compat.kernels.vectors import (  # noqa: E402
    LANES,
    larger,
    load,
    load_between,
    spread,
    square_root,
    store,
    store_bytes,
    store_from,
    store_past_caches,
    where_at_most,
    where_bytes,
    where_more,
)

LANE = np.arange(LANES)


@kernel
def _every_operation(q):
    """a, b, a number, and where each result goes, sixteen values after sixteen."""
    a, b, top = load(floats_at(q[2]), 0), load(floats_at(q[3]), 0), floats_at(q[5])
    c = spread(np.float32(number(q[4])))
    store(top, 0, a + b)
    store(top, 16, a - b)
    store(top, 32, a * b)
    store(top, 48, a / c)
    store(top, 64, square_root(a))
    store(top, 80, a * b + c)
    store(top, 96, where_more(a, b, a, c))
    store(top, 112, where_at_most(a, b, a, c))
    store(top, 128, larger(a, b))


def test_each_lane_has_what_numpy_has_for_it():
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, LANES)).astype(np.float32)
    a[:6], b[:6] = [np.nan, 1, np.nan, 0.0, -0.0, np.inf], [1, np.nan, np.nan, -0.0, 0.0, -np.inf]
    found = np.empty((9, LANES), np.float32)
    _every_operation(1, a, b, 0.1, found)
    with np.errstate(invalid="ignore"):
        third = np.float32(0.1)
        expected = [a + b, a - b, a * b, a / third, np.sqrt(a), a * b + third]
        expected += [*(np.where(chosen, a, third) for chosen in (a > b, a <= b)), np.where(a > b, a, b)]
    for mine, wanted in zip(found, expected, strict=True):
        numbers = ~np.isnan(wanted)
        assert (np.isnan(mine) == ~numbers).all()
        assert (mine[numbers].view(np.int32) == wanted[numbers].view(np.int32)).all()  # the sign of a zero too


@kernel
def _some(q):
    """values, where to read, the first lane and that behind the last, top."""
    store(floats_at(q[6]), 0, load_between(floats_at(q[2]), q[3], q[4], q[5]))


@pytest.mark.parametrize(("first", "last"), [(0, 16), (3, 16), (0, 5), (2, 9), (16, 16), (-4, 30), (9, 2), (40, -3)])
def test_lanes_outside_are_zeros(first, last):
    values, found = np.arange(1, 20, dtype=np.float32), np.empty(LANES, np.float32)
    _some(1, values, 2, first, last, found)
    assert found.tolist() == np.where((first <= LANE) & (last > LANE), LANE + 3.0, 0.0).tolist()


@kernel
def _some_kept(q):
    """values, the first lane, top."""
    store_from(floats_at(q[4]), 1, load(floats_at(q[2]), 0), q[3])


@pytest.mark.parametrize("first", [0, 1, 11, 16, 40])
def test_lanes_before_the_first_are_not_stored(first):
    values, found = np.arange(1, 17, dtype=np.float32), np.full(18, -1, np.float32)
    _some_kept(1, values, first, found)
    assert found.tolist() == [-1, *np.where(first <= LANE, values, -1), -1]


@kernel
def _bytes(q):
    """floats, where they go as bytes, and sixteen others, that of 47 or 255 where such a byte is."""
    values, none = load(floats_at(q[2]), 0), spread(np.float32(0))
    store_bytes(bytes_at(q[3]), 0, values)
    store(
        floats_at(q[4]),
        0,
        where_bytes(bytes_at(q[3]), 0, 47, values, where_bytes(bytes_at(q[3]), 0, 255, values, none)),
    )


def test_bytes_are_numbers_from_0_to_255():
    values, bytes_, found = (
        np.arange(15, 256, 16, dtype=np.float32),
        np.empty(LANES, np.uint8),
        np.empty(LANES, np.float32),
    )
    _bytes(1, values, bytes_, found)
    assert bytes_.tolist() == values.tolist()
    assert found.tolist() == [0, 0, 47, *[0] * 12, 255]


@kernel
def _streamed(q):
    """values, and where they go."""
    store_past_caches(floats_at(q[3]), LANES, load(floats_at(q[2]), 0))


def test_what_goes_past_the_caches_arrives():
    values, room = np.arange(1, 17, dtype=np.float32), np.zeros(64, np.float32)
    found = room[-room.ctypes.data % 64 // 4 :][:32]  # from a multiple of 64 bytes on
    _streamed(1, values, found)
    assert found.tolist() == [*[0] * 16, *values]
