"""Forked processes: nets of the parent run in the child, though it lacks the threads that the parent computed with."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_compat.pycaffe as caffe
from tests.pycaffe.nets import inner, layer, net

IMAGES = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 8 dim: 32 dim: 32 } } }\n'
CONVOLUTION = layer("conv", "Convolution", "data", "conv", "convolution_param { num_output: 16 kernel_size: 3 }")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_net_that_has_run_on_two_threads_runs_in_a_forked_process() -> None:
    """Without the handler in pycaffe/mode.py the child waits for ever, and the alarm ends it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        built = net(IMAGES + CONVOLUTION + inner("ip", "conv", "ip", 3), caffe.TEST)
        built.blobs["data"].data[...] = 1
        wanted = built.forward()["ip"].copy()
        built.backward()
        child = os.fork()
        if not child:
            signal.alarm(20)
            built.backward()
            found = built.forward()["ip"]
            os._exit(0 if np.array_equal(found, wanted) and Path("net.prototxt").exists() else 1)
        assert _status(child) == 0
        assert np.array_equal(built.forward()["ip"], wanted)
    finally:
        torch.set_num_threads(before)


def _status(child: int, seconds: float = 30) -> int:
    """How it ended; killed where it has not by then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
