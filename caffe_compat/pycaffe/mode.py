"""What pycaffe keeps for each thread, as Caffe does (common.cpp): mode, random numbers, solver count and rank."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import torch

from caffe_compat.layers.draws import TORCH, Source
from caffe_compat.pycaffe.bindings import CheckError, refuse_types, whole
from caffe_compat.pycaffe.boost_random import BoostSource
from caffe_compat.pycaffe.vectors import StringVec

# A forked process has the thread that forked and no other, but OpenMP would wait for those it had
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class _State(threading.local):
    def __init__(self) -> None:
        self.is_gpu = False
        self.source: Source = TORCH
        self.solver_count, self.solver_rank, self.is_multiprocess = 1, 0, False


_state = _State()

CAFFE_TYPES = (
    "AbsVal", "Accuracy", "ArgMax", "BNLL", "BatchNorm", "BatchReindex", "Bias", "Clip", "Concat", "ContrastiveLoss",
    "Convolution", "Crop", "Data", "Deconvolution", "Dropout", "DummyData", "ELU", "Eltwise", "Embed", "EuclideanLoss",
    "Exp", "Filter", "Flatten", "HDF5Data", "HDF5Output", "HingeLoss", "Im2col", "ImageData", "InfogainLoss",
    "InnerProduct", "Input", "LRN", "LSTM", "LSTMUnit", "Log", "MVN", "MemoryData", "MultinomialLogisticLoss", "PReLU",
    "Parameter", "Pooling", "Power", "Python", "RNN", "ReLU", "Reduction", "Reshape", "SPP", "Scale", "Sigmoid",
    "SigmoidCrossEntropyLoss", "Silence", "Slice", "Softmax", "SoftmaxWithLoss", "Split", "Swish", "TanH", "Threshold",
    "Tile", "WindowData",
)  # fmt: skip
"""The layer types of Caffe 1.0. Nets may have the types of forks too."""


def layer_type_list() -> StringVec:
    """The layer types of Caffe, sorted."""
    return StringVec(CAFFE_TYPES)


def set_mode_cpu() -> None:
    """Compute on the CPU, in this thread."""
    _state.is_gpu = False


def set_mode_gpu() -> None:
    """Ask for a GPU, in this thread: nets refuse to run then, as in a CPU build of Caffe."""
    _state.is_gpu = True


def set_device(device_id: int) -> None:
    """Refused as in a CPU build of Caffe: NumPy views are of the memory of the CPU."""
    whole("set_device", device_id)
    raise no_gpu()


def no_gpu() -> CheckError:
    """What Caffe's CPU build says where a GPU is asked for."""
    return CheckError(
        "Cannot use GPU in CPU-only Caffe: check mode. Call set_mode_cpu(), or train by `caffe-compat solve`"
    )


def check_mode() -> None:
    """CheckError where this thread asked for a GPU."""
    if _state.is_gpu:
        raise no_gpu()


def set_random_seed(seed: int) -> None:
    """Seed this thread's random numbers, unsigned 32 bits: fillers and Dropout then give what Caffe's give."""
    number = whole("set_random_seed", seed)
    if number < 0:
        raise OverflowError("can't convert negative value to unsigned int")
    if number >= 2**32:
        raise OverflowError("Python int too large to convert to unsigned int")
    _state.source = BoostSource(number)


def random_source() -> Source:
    """The random numbers of this thread: Caffe's own once a script has chosen a seed, else torch's, much faster."""
    return _state.source


def is_seeded() -> bool:
    """Whether a script chose the random numbers of this thread."""
    return _state.source is not TORCH


def random_state() -> Any:
    """Where the random numbers of this thread stand, for `restore_random`."""
    return _state.source, _state.source.state() if isinstance(_state.source, BoostSource) else torch.get_rng_state()


def restore_random(state: Any) -> None:
    """Let the random numbers that follow `state` come again."""
    _state.source, place = state
    if isinstance(_state.source, BoostSource):
        _state.source.restore(place)
    else:
        torch.set_rng_state(place)


def solver_count() -> int:
    return _state.solver_count


def set_solver_count(count: int) -> None:
    _state.solver_count = whole("set_solver_count", count)


def solver_rank() -> int:
    return _state.solver_rank


def set_solver_rank(rank: int) -> None:
    _state.solver_rank = whole("set_solver_rank", rank)


def set_multiprocess(value: bool) -> None:
    _state.is_multiprocess = bool(value)


def has_nccl() -> bool:
    """False: one process, one device."""
    return False


class Timer:
    """Milliseconds between `start` and `stop`."""

    def __init__(self) -> None:
        self._started = self._stopped = 0.0

    def start(self) -> None:
        self._started = self._stopped = time.perf_counter()

    def stop(self) -> None:
        self._stopped = time.perf_counter()

    @property
    def ms(self) -> float:
        return (self._stopped - self._started) * 1000


class NCCL:
    """What a build of Caffe without NCCL has: it can be made for a solver, and does nothing."""

    def __init__(self, solver: Any, uid: Any) -> None:
        if not isinstance(uid, (str, bytes)):
            refuse_types("NCCL.__init__", "shared_ptr<Solver>, std::string", solver, uid)
