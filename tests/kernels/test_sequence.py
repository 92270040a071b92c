"""Loops put down and run one after the other; expected values are plain sums."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="the package numba is not installed")

from caffe_compat.kernels import sequence as under_test  # noqa: E402
from caffe_compat.kernels.kernel import floats_at, kernel, next_part, number, put_down  # noqa: E402
from caffe_compat.kernels.sequence import Following  # noqa: E402


@kernel
def _risen(q):
    """values, their number, what is added to each."""
    values, parts, part = numba.carray(floats_at(q[2]), q[3]), q[1], next_part(q)
    while part < parts:
        for i in range(part * q[3] // parts, (part + 1) * q[3] // parts):
            values[i] = values[i] * 2 + number(q[4])
        part = next_part(q)


@pytest.mark.parametrize("threads", [1, 2])
def test_loops_follow_in_their_order_as_often_as_called(threads):
    if threads > 1 and under_test.team() is None:
        pytest.skip("torch has no team of GNU's OpenMP here")
    values = np.zeros(1001, np.float32)
    with put_down() as calls:
        _risen(len(values), values, len(values), 1.0, threads=threads)
        _risen(len(values), values, len(values), 3.0, threads=1)
    assert (values == 0).all()
    follow = Following(calls)
    follow()
    assert (values == 5).all()
    follow()
    assert (values == 25).all()


def test_words_may_change_in_between():
    first, second = np.zeros(3, np.float32), np.zeros(3, np.float32)
    with put_down() as calls:
        _risen(3, first, 3, 1.0)
    follow = Following(calls)
    follow()
    calls[0][1][2] = second.ctypes.data
    follow()
    assert first.tolist() == second.tolist() == [1.0] * 3


def test_loops_run_again_behind_the_block_even_after_an_error():
    values = np.zeros(3, np.float32)
    with pytest.raises(ZeroDivisionError), put_down():
        raise ZeroDivisionError
    _risen(3, values, 3, 1.0)
    assert values.tolist() == [1.0] * 3


def test_threads_are_refused_without_a_team(monkeypatch):
    monkeypatch.setattr(under_test, "team", lambda: None)
    words = array("q", [0, 8, 0, 0, 0])
    with pytest.raises(ValueError, match="GNU's OpenMP"):
        Following([(_risen, words, 2)])
    Following([(_risen, words, 1)])
