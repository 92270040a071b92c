"""How loops get their arguments and their parts; expected values are plain sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba", reason="the package numba is not installed")

from caffe_compat.kernels.kernel import floats_at, kernel, next_part, number, words_at  # noqa: E402


@kernel
def _scaled(q):
    """values, their number, a factor, and how often each part was done."""
    values, parts = numba.carray(floats_at(q[2]), q[3]), q[1]
    done = numba.carray(words_at(q[5]), parts)
    part = next_part(q)
    while part < parts:
        for i in range(part * q[3] // parts, (part + 1) * q[3] // parts):
            values[i] *= number(q[4])
        done[part] += 1
        part = next_part(q)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_part_is_done_once_whatever_the_threads(threads):
    values = np.arange(1001, dtype=np.float32)
    done = np.zeros(threads * 4, np.int64)
    _scaled(len(values), values, len(values), 0.5, done, threads=threads)
    assert (values == np.arange(1001) / 2).all()
    assert done.tolist() == ([1] * threads * 4 if threads > 1 else [1, 0, 0, 0])


def test_tensors_and_arrays_are_passed_by_their_address():
    tensor = torch.ones(7)
    _scaled(7, tensor, 7, 3.0, np.zeros(64, np.int64))
    assert tensor.tolist() == [3.0] * 7


def test_little_work_wakes_no_other_thread():
    done = np.zeros(64, np.int64)
    _scaled(10, np.ones(10, np.float32), 10, 1.0, done)
    assert done.sum() == 1
