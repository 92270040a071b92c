"""Nets timed side by side."""

import os

import numpy as np
import pytest

from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.net.net import Net
from caffe_compat.net.timing import compare_time, pinned
from tests.decompose.test_latency import model

__all__ = ["model"]

DATA = {"data": np.zeros((2, 8, 12, 10), np.float32)}


def test_nets_take_turns_and_are_timed_in_every_round(model):
    small = decompose(model, {"c": 4, "d": 4})
    times = compare_time([Net(model), Net(small)], DATA, rounds=3)
    assert [len(each) for each in times] == [3, 3]
    assert all(seconds > 0 for each in times for seconds in each)


def test_convolutions_take_their_bottoms_in_the_layout_that_is_asked_for(model):
    net, seen = Net(model), []
    convolve = net.layers["d"].filter

    def look(bottom, weight):
        seen.append(bottom.is_contiguous())
        return convolve(bottom, weight)

    net.layers["d"].filter = look
    compare_time([net], DATA, rounds=1)
    compare_time([net], DATA, rounds=1, layout="contiguous")
    assert seen == [False, False, True, True]
    with pytest.raises(UnsupportedParameterError, match="layout is 'blocked'; known: channels_last, contiguous"):
        compare_time([net], DATA, layout="blocked")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="CPUs of a process can be chosen on Linux only")
def test_a_process_keeps_to_as_many_cpus_as_threads_and_has_all_again_after():
    before = os.sched_getaffinity(0)
    with pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
