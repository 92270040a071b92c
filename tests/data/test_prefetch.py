"""Batches made ahead are the batches in order, and nothing is left behind."""

import gc
import threading
import time

import numpy as np
import pytest

from caffe_compat.data.prefetch import Prefetched


class Counting:
    """Batch number n is the array n; from `fails_at` on, an error."""

    def __init__(self, fails_at=10**9, seconds=0.0):
        self.shapes = [(1,)]
        self.made, self.closed, self.fails_at, self.seconds = [], False, fails_at, seconds

    def read(self, index):
        time.sleep(self.seconds)
        if index >= self.fails_at:
            raise ValueError(f"no batch {index}")
        self.made.append(index)
        return (np.array([index]),)

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def others():
    """What other tests left for the garbage collector is none of this one's."""
    _others[:] = threading.enumerate()


_others = []


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch" and thread not in _others]


def until(true):
    for _ in range(500):
        if true():
            return True
        time.sleep(0.01)
    return False


def test_batches_come_in_order_and_no_more_than_depth_ahead():
    batches = Counting()
    ahead = Prefetched(batches, depth=3)
    assert not batches.made
    for index in range(20):
        assert ahead.read(index)[0][0] == index
    assert until(lambda: len(batches.made) == 20 + 3 + 1)  # three wait in the queue, one in the thread's hand
    time.sleep(0.05)
    assert len(batches.made) == 24
    ahead.close()
    assert batches.closed and not threads()


def test_a_jump_starts_anew_there():
    ahead = Prefetched(Counting(), depth=2)
    assert [ahead.read(index)[0][0] for index in (0, 1, 7, 8, 2, 2)] == [0, 1, 7, 8, 2, 2]
    ahead.close()


def test_an_error_comes_out_where_its_batch_would_and_the_thread_is_gone():
    ahead = Prefetched(Counting(fails_at=2), depth=4)
    assert [ahead.read(index)[0][0] for index in (0, 1)] == [0, 1]
    for _ in range(2):
        with pytest.raises(ValueError, match="no batch 2"):
            ahead.read(2)
    assert not threads()


def test_a_forgotten_reader_takes_its_thread_along():
    ahead = Prefetched(Counting(), depth=2)
    ahead.read(0)
    del ahead
    gc.collect()
    assert until(lambda: not threads())


def test_a_reader_that_computes_as_long_as_a_batch_takes_never_waits_for_two():
    ahead = Prefetched(Counting(seconds=0.02), depth=2)
    ahead.read(0)
    waits = []
    for index in range(1, 8):
        time.sleep(0.04)
        began = time.perf_counter()
        ahead.read(index)
        waits.append(time.perf_counter() - began)
    ahead.close()
    assert sorted(waits)[len(waits) // 2] < 0.01
