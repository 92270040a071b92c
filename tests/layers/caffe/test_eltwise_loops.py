"""The sum of two blobs and the ReLU behind it in one pass, beside plain sums; by the loops and by torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from caffe_compat.layers.caffe.eltwise_loops import RectifiedSum, rectified_sum_by_loop
from tests.kernels.switch import needs_loops
from tests.layers.single import build

SHAPE = (3, 16, 5, 7)


@pytest.fixture(params=[pytest.param("loops", marks=needs_loops), "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    return str(request.param)


def _values(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Integers, so that sums are exact and often 0."""
    values = np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)
    return torch.from_numpy(values).contiguous(memory_format=torch.channels_last)


def _sum(owns_gradient: bool = False) -> RectifiedSum:
    eltwise: Any = build('type: "Eltwise"', SHAPE, SHAPE)
    relu: Any = build('type: "ReLU"', SHAPE)
    return RectifiedSum(eltwise, relu, owns_gradient)


@pytest.mark.parametrize("owns_gradient", [False, True])
def test_the_top_is_the_positive_part_and_the_gradient_goes_where_it_is_above_0(way, owns_gradient):
    first, second, diff = _values(0).requires_grad_(), _values(1).requires_grad_(), _values(2)
    top = _sum(owns_gradient).finished(first, second)
    total = first.detach().numpy() + second.detach().numpy()
    assert (total == 0).any()
    np.testing.assert_array_equal(top.detach().numpy(), np.maximum(total, 0))
    kept = diff.numpy().copy()
    top.backward(diff)
    for bottom in (first, second):
        np.testing.assert_array_equal(bottom.grad.numpy(), kept * (total > 0))
    assert owns_gradient or (diff.numpy() == kept).all()


def test_what_two_sums_give_to_one_blob_is_added(way):
    """a = relu(x + x2), b = relu(a * 2 + a): the derivative by x is 3 where a is above 0."""
    x, other = _values(3).requires_grad_(), _values(4)
    a = _sum().finished(x, other)
    b = _sum().finished(a * 2, a)
    b.backward(torch.ones_like(b))
    np.testing.assert_array_equal(x.grad.numpy(), 3.0 * (x.detach().numpy() + other.numpy() > 0))


def test_what_is_no_number_stays_none(way):
    first = _values(5)
    first[0, 0, 0, 0] = np.nan
    assert _sum().finished(first, _values(6)).isnan().sum() == 1


@needs_loops
def test_threads_change_no_bit():
    first, second, before = _values(7, (64, 48, 9, 9)), _values(8, (64, 48, 9, 9)), torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(rectified_sum_by_loop(first, second, False), torch.relu(first + second))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda first, second: (first.double(), second), id="float64"),
        pytest.param(lambda first, second: (first, second.double()), id="second float64"),
        pytest.param(lambda first, second: (first.contiguous(), second), id="planes"),
        pytest.param(lambda first, second: (first, second.contiguous()), id="second in planes"),
        pytest.param(lambda first, second: (first[:1, :3, :1], second[:1, :3, :1]), id="no whole vectors"),
        pytest.param(lambda first, second: (first, torch.nn.Parameter(second)), id="a subclass"),
    ],
)
def test_loops_read_only_what_they_can(change):
    assert rectified_sum_by_loop(*change(_values(0), _values(1)), False) is None
