"""Losses of a GPU wait there; what is displayed is the same."""

import math

import pytest
import torch

from caffe_compat.solver.smoothing import Losses


class OnGpu(torch.Tensor):
    """A tensor that says it lies on a GPU."""

    is_cuda = True


def losses_of(values, kind):
    losses = Losses(window=3)
    due = [losses.add(torch.tensor(value).as_subclass(kind)) for value in values]
    return losses, due


def same(loss):
    return loss


def test_a_loss_on_the_cpu_is_read_at_once_and_one_on_a_gpu_with_the_hundredth():
    assert losses_of([1.0, 2.0], torch.Tensor)[1] == [True, True]
    assert losses_of([1.0] * 100, OnGpu)[1] == [False] * 99 + [True]


def test_reading_late_gives_the_same_smoothed_loss():
    values = [4.0, 1.0, 7.0, 2.0, 9.0]
    late, _ = losses_of(values, OnGpu)
    assert math.isnan(late.last)
    assert late.read(same) is None
    assert (late.last, late.smoothed.added) == (9.0, 5)
    assert late.smoothed.value == pytest.approx((7 + 2 + 9) / 3)


def test_the_first_loss_that_is_no_number_is_dated():
    late, _ = losses_of([1.0, math.nan, 2.0, 3.0], OnGpu)
    assert late.read(same) == 2
    assert math.isnan(late.last)
