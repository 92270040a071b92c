"""Forward passes of nets timed side by side: in turns, on threads that stay where they are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from caffe_compat.layers.layout import laid_out
from caffe_compat.net.net import Net
from caffe_compat.net.prepared import PreparedNet
from caffe_compat.progress import in_steps

ROUNDS = 7


def compare_time(
    nets: Sequence[Net | PreparedNet], inputs: Mapping[str, Any], rounds: int = ROUNDS, layout: str = "channels_last"
) -> list[list[float]]:
    """Seconds of a forward pass of every net in every round; the nets take turns, after a pass to warm each.

    layout: how activations of Convolutions lie on a CPU, "channels_last" (as nets run) or "contiguous". The process
    keeps to as many CPUs as torch has threads meanwhile.
    """
    times: list[list[float]] = [[] for _ in nets]
    with torch.inference_mode(), laid_out(layout), pinned(torch.get_num_threads()):
        for net in nets:
            net(**inputs)
        for _ in in_steps("timing nets in turns", range(rounds), lambda _: ""):
            for net, seconds in zip(nets, times, strict=True):
                _synchronize(net)
                start = time.perf_counter()
                net(**inputs)
                _synchronize(net)
                seconds.append(time.perf_counter() - start)
    return times


@contextmanager
def pinned(count: int) -> Iterator[None]:
    """Within this block all threads of the process keep to `count` of its CPUs; on Linux, elsewhere nothing happens."""
    tasks = Path("/proc/self/task")
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") and tasks.is_dir() else set()
    if len(allowed) <= count:
        yield
        return
    _keep_to(tasks, sorted(allowed)[-count:])  # the first ones serve the kernel's interrupts
    try:
        yield
    finally:
        _keep_to(tasks, allowed)


def _keep_to(tasks: Path, cpus: Any) -> None:
    for task in tasks.iterdir():
        try:
            os.sched_setaffinity(int(task.name), cpus)
        except ProcessLookupError:
            continue  # a thread that ended meanwhile


def _synchronize(net: Net | PreparedNet) -> None:
    whole = net.net if isinstance(net, PreparedNet) else net
    if next((parameter.is_cuda for parameter in whole.parameters()), False):
        torch.cuda.synchronize()
