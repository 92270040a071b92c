"""One training iteration as a CUDA graph: forward, backward and update are recorded once and then replayed.

A replay costs one call where the iteration costs hundreds, so small nets no longer wait for the host. It reads the same
memory each time: the batches are copied there, and so is the learning rate. What is recorded is what runs otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.net import Net
from caffe_compat.solver.passes import Passes

Result = tuple[dict[str, Tensor], Tensor]
Work = Callable[[], Result]
WARM_UP = 3  # iterations before the recorded one, in which libraries choose their kernels

# layer types whose kernels depend on shapes alone, and that keep nothing outside their blobs
FIT = {
    "AbsVal", "Accuracy", "ArgMax", "BNLL", "BatchNorm", "Bias", "Concat", "ContrastiveLoss", "Convolution", "Crop",
    "Deconvolution", "Dropout", "ELU", "Eltwise", "Embed", "EuclideanLoss", "Exp", "Flatten", "HingeLoss", "Im2col",
    "InnerProduct", "LRN", "Log", "MVN", "MultinomialLogisticLoss", "PReLU", "Pooling", "Power", "ReLU", "Reduction",
    "Reshape", "Scale", "Sigmoid", "SigmoidCrossEntropyLoss", "Silence", "Slice", "Softmax", "SoftmaxWithLoss", "Split",
    "TanH", "Threshold", "Tile",
}  # fmt: skip


class NotRecorded(Exception):
    """Why an iteration cannot be a graph; its batches, not learnt from yet, are in `GraphedIteration.values`."""


def obstacle(net: Net) -> str | None:
    """The layer that keeps iterations of `net` from being recorded, in words; None if there is none."""
    for _, layer in net.steps:
        if not isinstance(layer, SourceLayer) and layer.param.type not in FIT:
            return f"layer '{layer.name}' is of type {layer.param.type}"
    return None


def cuda_graph(work: Work) -> Work:
    """`work` recorded as a CUDA graph, not run; what it gave is filled anew at each replay."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


class GraphedIteration:
    """Iterations of `passes` and `update`, recorded by `record` after a few that run as they are.

    update: makes the update at the rate it is given, a scalar tensor. record: `cuda_graph`, or a stand-in for it.
    """

    def __init__(self, passes: Passes, update: Callable[[Tensor], None], record: Callable[[Work], Work]) -> None:
        self._passes, self._update, self._record = passes, update, record
        self.values: list[dict[str, Tensor]] = []  # of each batch of an iteration, by blob; the memory that is read
        self._rate: Tensor | None = None
        self._replays: dict[Any, Work] = {}
        self._warm_up = WARM_UP

    def run(self, rate: float, variant: Any = None) -> Result:
        """One iteration on the next batches: outputs, which the next run overwrites, and the mean loss.

        variant: what else the update depends on; each is recorded by itself. NotRecorded where it cannot be.
        """
        if self._rate is None:
            place = self._passes.net._place
            self._rate = torch.zeros((), dtype=place.dtype, device=place.device)
        self._take_batches()
        self._rate.fill_(rate)
        if self._warm_up:
            self._warm_up -= 1
            outputs, loss = self._beside(self._work)
        else:
            if variant not in self._replays:
                self._replays[variant] = self._recorded()
            outputs, loss = self._replays[variant]()
        return outputs, loss.clone()

    def _work(self) -> Result:
        assert self._rate is not None
        result = self._passes.run(values=self.values)
        self._update(self._rate)
        return result

    def _recorded(self) -> Work:
        try:
            return self._record(self._work)
        except Exception as error:  # of torch, CUDA or a layer that has to look at values
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given").strip()
            raise NotRecorded(f"{type(error).__name__}: {reason[:200]}") from None

    def _take_batches(self) -> None:
        batches = [self._passes.net.next_values() for _ in range(self._passes.iter_size)]
        if not self.values:
            self.values = [{name: torch.empty_like(value) for name, value in batch.items()} for batch in batches]
        for mine, batch in zip(self.values, batches, strict=True):
            if any(mine[name].shape != value.shape for name, value in batch.items()):
                self.values = batches
                raise NotRecorded("the batches change their shape")
            for name, value in batch.items():
                mine[name].copy_(value, non_blocking=True)

    def _beside(self, work: Work) -> Result:
        """`work` on a stream of its own where there are streams, as what precedes a recording must be."""
        if self._rate is None or not self._rate.is_cuda:
            return work()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            result = work()
        current.wait_stream(stream)
        return result
