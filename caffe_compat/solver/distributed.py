"""One solver in several processes, each with its own batches: `torchrun --nproc-per-node N -m caffe_compat.solve ...`.

As with Caffe on several GPUs (parallel.cpp, NCCL): every process has the whole net and reads its own part of the data
(record k of the source goes to rank k mod N), the gradients are averaged, and each makes the same update. Rank 0, the
root, tests, logs and writes the snapshots. batch_size is that of one process: N of them learn from N times as much.
BatchNorm's statistics are each process's own, and the root's are saved. As with iter_size N in one process, except
that clip_gradients sees the mean of the gradients, not their sum. The loss that is displayed is the mean over the
ranks, where Caffe shows the root's.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from caffe_compat.errors import CaffeCompatError, SolverError
from caffe_compat.layers.stored import StoredLayer
from caffe_compat.solver.continuation import generators, set_generators, sources
from caffe_compat.solver.links import LINK_TIMEOUT, connect
from caffe_compat.solver.sidecar import Sidecar
from caffe_compat.solver.snapshots import newest_snapshot, snapshot_paths
from caffe_compat.solver.solver import Solver

logger = logging.getLogger(__name__)

ACTIONS = ("stop", "snapshot")
LARGEST_STATISTIC = 1 << 16  # values; of BatchNorm and the like, which forward passes change
ROOT_ENDS = 2.0  # seconds in which the lock of a dead root is surely gone


def process_count() -> int:
    """How many processes torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_root() -> bool:
    """Whether this process is the one that logs and writes."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def process_group(link_timeout: float = LINK_TIMEOUT) -> Iterator[None]:
    """Within this block, the processes that torchrun started can average: gloo for the CPU, nccl for GPUs.

    Each takes the GPU of its local number. An error of another rank than the root says which rank it is from.
    link_timeout: seconds after which a link that was cut ends both of its ends.
    """
    if process_count() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    connect(link_timeout)
    try:
        yield
    except CaffeCompatError as error:
        raise type(error)(str(error) if is_root() else f"rank {dist.get_rank()}: {error}") from None
    finally:
        dist.destroy_process_group()


class DistributedSolver(Solver):
    """A Solver that trains together with those of the other processes of torch's process group; made in all of them.

    Its options are the Solver's. The data layers that read stored records share them out; others give every rank the
    same. Requests of any rank hold for all, after the same iteration. With random_seed, rank r draws from
    random_seed + r, as in Caffe. A snapshot may be resumed by another number of ranks: the side-car counts the batches
    of all ranks together; the random numbers of all but the root start anew then.

    When a rank dies, the root writes a snapshot of the state before that iteration; where the root itself died, the
    first other rank that finds the prefix free does. The ranks differ in BatchNorm's statistics alone.
    """

    _reads_each_loss = True  # for with it the gradients are averaged

    def __init__(self, solver: Any, *args: Any, **options: Any) -> None:
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        super().__init__(solver, *args, **{**options, "graph": False})  # gradients are averaged between the passes
        self._asked = set()  # until all ranks agree
        self._starts: list[dict[str, bytes]] = []  # the random numbers of all ranks at the start of this iteration

    def _make_nets(self, weights: Any) -> None:
        super()._make_nets(weights)
        self._share_data()
        blobs = [blob.detach() for _, layer in self.net.steps for blob in layer.blobs if not blob.requires_grad]
        self._moved_by_passes = [blob for blob in blobs if blob.numel() <= LARGEST_STATISTIC]
        self._before_pass = [torch.empty_like(blob) for blob in self._moved_by_passes]
        for _, layer in self.net.steps:
            for blob in layer.blobs:
                values = blob.detach().contiguous()
                dist.broadcast(values, src=0)
                blob.data.copy_(values)
        self._part_random_numbers()

    def test(self) -> list[dict[str, Any]]:
        """The root's tests; nothing on the other ranks, which wait for it at their next update."""
        nets = zip(self.test_nets, self.config.test_iter, strict=True)
        ends = [(layer, layer.cursor + batches) for net, batches in nets for layer in sources(net).values()]
        results = [] if self.rank else super().test()
        if self.rank or "stop" in self._asked:
            for (
                layer,
                cursor,
            ) in ends:  # where the root's are after a whole test: its heir may have to write the snapshot
                layer.seek(cursor)
        return results

    def snapshot(self, name: str | None = None, beside: Mapping[Path, bytes] | None = None) -> Path:
        """Written by the root alone; the path on the other ranks too.

        Without a name, all ranks take part at once, and their random numbers are kept.
        """
        states: list[Any] = [None] * self.ranks
        if name is None:
            with suppress(RuntimeError):  # a rank has ended: the next iteration will tell
                dist.all_gather_object(states, self._generators())
                self._random = states
        try:
            name = name or f"iter_{self.iteration}"
            return snapshot_paths(self.config, name)[1] if self.rank else super().snapshot(name, beside)
        finally:
            self._random = []

    def _agreed(self, value: Any) -> Any:
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def _restore_extras(self, extras: Sidecar) -> None:
        super()._restore_extras(extras)
        if self.rank and len(extras.random) == self.ranks:
            set_generators(extras.random[self.rank])
        else:
            self._part_random_numbers(self.iteration)

    def _train(self) -> None:
        """All from the same iteration: a rank that does not see the others' snapshots would train from another."""
        try:
            places: list[Any] = [None] * self.ranks
            dist.all_gather_object(places, (self.iteration, generators()))
        except RuntimeError as error:
            logger.debug("%s", error)
            raise SolverError("one of the processes has ended before the first iteration; so the others stop") from None
        iterations = sorted({iteration for iteration, _ in places})
        if len(iterations) > 1:
            raise SolverError(
                f"the ranks would begin at iterations {', '.join(map(str, iterations))}; put the snapshots where all "
                "of them can read them, or name one that all have"
            )
        self._starts = [states for _, states in places]
        super()._train()

    def _iterate(self) -> None:
        if self._before_pass:
            torch._foreach_copy_(self._before_pass, self._moved_by_passes)
        super()._iterate()

    def _combined(self, loss: float) -> float:
        """Average loss and gradients over the ranks, and agree on what was asked for."""
        drawn = generators() != self._random_before
        try:
            facts = [loss, *(float(action in self._asked) for action in ACTIONS), float(drawn)]
            sums = torch.tensor(facts, dtype=torch.float64).to(self.device)
            dist.all_reduce(sums)
            self._average_gradients()
            total, *asked, draws = sums.tolist()
            if draws:
                states: list[Any] = [None] * self.ranks
                dist.all_gather_object(states, generators())
        except RuntimeError as error:
            logger.debug("%s", error)
            raise SolverError(self._deserted()) from None
        if draws:
            self._starts = states
        for action, votes in zip(ACTIONS, asked, strict=True):
            if votes:
                self._requests.add(action)
                self._asked.discard(action)
        return float(total) / self.ranks

    def _average_gradients(self) -> None:
        trained = [param.tensor for param in self._params if param.tensor.requires_grad]
        if not trained:
            return
        gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in trained]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.ranks
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for tensor, gradient, part in zip(trained, gradients, parts, strict=True):
            tensor.grad = gradient.copy_(part.view(gradient.shape))

    def _deserted(self) -> str:
        """What to say when another rank is gone, after one of those left has kept the state before this iteration."""
        message = f"iteration {self.iteration}: one of the {self.ranks} processes has ended, so the others stop"
        if self.rank and not self._root_is_gone():
            return message
        scheduled = None if self._is_exact_alone else newest_snapshot(self.config.snapshot_prefix)
        message += f"; resume from {self._snapshot_alone()}, with any number of processes"
        if scheduled is None:
            return message
        return (
            f"{message}: it has BatchNorm's statistics as rank {self.rank} has them now, so as an undisturbed run, to "
            f"the bit, goes on only {scheduled.path}"
        )

    @property
    def _is_exact_alone(self) -> bool:
        """Whether this rank can write what the root would have: statistics are each rank's own, large ones not kept."""
        statistics = [layer.blobs[index] for _, layer in self.net.steps for index in layer.fixed_blobs]
        if not self.rank:
            return all(blob.numel() <= LARGEST_STATISTIC for blob in statistics)
        pairs = zip(self._moved_by_passes, self._before_pass, strict=True)
        return not statistics and all(torch.equal(now, before) for now, before in pairs)

    def _snapshot_alone(self) -> Path:
        self._unread()
        if self._before_pass:
            torch._foreach_copy_(self._moved_by_passes, self._before_pass)
        self._random = [*self._starts]
        if self._random:
            self._random[self.rank] = self._generators()  # tests may have drawn since
        return super().snapshot(f"iter_{self.iteration}")

    def _root_is_gone(self) -> bool:
        """Whether the root died: its lock of the prefix went with it. False where another rank is first."""
        state = snapshot_paths(self.config, f"iter_{self.iteration}")[1]
        for _ in range(int(ROOT_ENDS / 0.1)):
            try:
                with super()._reserved():
                    return not state.exists()
            except SolverError:
                time.sleep(0.1)
        return False

    def _reserved(self) -> AbstractContextManager[None]:
        return nullcontext() if self.rank else super()._reserved()

    def _share_data(self) -> None:
        """Give each rank its part of the records, in the order that the root's seeds make."""
        stored = [layer for _, layer in self.net.steps if isinstance(layer, StoredLayer)]
        seeds = torch.tensor([layer.seed for layer in stored], dtype=torch.int64, device=self.device)
        dist.broadcast(seeds, src=0)
        for layer, seed in zip(stored, seeds.tolist(), strict=True):
            layer.share(self.rank, self.ranks)
            layer.seed = seed

    def _part_random_numbers(self, iteration: int = 0) -> None:
        """Let the ranks draw different numbers, so that dropout masks differ; the root's are those of one process."""
        if self.rank:
            seed = self.config.random_seed
            torch.manual_seed((seed if seed >= 0 else torch.seed() % 2**31) + self.rank + self.ranks * iteration)
