"""Times on a CUDA device, without what the host takes to launch kernels: work is recorded once and then replayed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

import caffe_compat as cc
from caffe_compat.solver.precision import rounding

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
# Multiply-adds count as two; without sparsity, from NVIDIA's data sheet of the H100 and H200 SXM.
PEAKS = {"fp32": 67e12, "tf32": 494.7e12, "bf16": 989.4e12}
PEAKS_OF = ("H100", "H200")
WARM_UP = 3


def peak(device: torch.device, precision: str) -> float | None:
    """Operations a second that the device is sold with; None for one that is not in the table."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return PEAKS[precision] if any(word in name for word in PEAKS_OF) else None


def pass_times(
    models: Sequence[cc.Model], inputs: Mapping[str, torch.Tensor], device: torch.device, precision: str, rounds: int
) -> list[list[float]]:
    """Seconds of a forward pass of each model in every round; the models take turns."""
    given = {name: value.to(device, DTYPES[precision]) for name, value in inputs.items()}
    times: list[list[float]] = [[] for _ in models]
    with torch.inference_mode(), rounding(precision == "tf32"):
        calls = [_replayed(_net(model, device, precision), given, device) for model in models]
        for _ in range(rounds):
            for call, seconds in zip(calls, times, strict=True):
                seconds.append(once(call, device))
    return times


def once(call: Callable[[], Any], device: torch.device, repeats: int = 20) -> float:
    """Seconds of one call: on a GPU the mean of `repeats` calls in a row, on a CPU one."""
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    first.record()  # type: ignore[no-untyped-call]
    for _ in range(repeats):
        call()
    last.record()  # type: ignore[no-untyped-call]
    last.synchronize()  # type: ignore[no-untyped-call]
    return float(first.elapsed_time(last)) / 1000 / repeats  # type: ignore[no-untyped-call]


def iteration_seconds(solver: cc.Solver, iterations: int, rounds: int = 5) -> list[float]:
    """Seconds of one iteration of `solver` in each round of `iterations`, data and update included."""
    solver.step(WARM_UP + 2)  # recorded by then
    found = []
    for _ in range(rounds):
        wait(solver.device)
        start = time.perf_counter()
        solver.step(iterations)
        wait(solver.device)
        found.append((time.perf_counter() - start) / iterations)
    return found


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the quartiles."""
    low, middle, high = statistics.quantiles(values if len(values) > 1 else [*values] * 2, n=4, method="inclusive")
    return {"median": middle, "lower quartile": low, "upper quartile": high}


def _net(model: cc.Model, device: torch.device, precision: str) -> cc.Net:
    return cc.Net(model, phase="TEST").eval().to(device, DTYPES[precision])


def _replayed(net: cc.Net, given: Mapping[str, torch.Tensor], device: torch.device) -> Callable[[], Any]:
    """A pass of `net`, as a CUDA graph where there is such a thing."""
    if device.type != "cuda":
        return lambda: net(**given)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            net(**given)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        net(**given)
    return graph.replay
