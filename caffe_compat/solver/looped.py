"""Updates of many parameters as one compiled loop (kernels/updates.py), where their values are of the kind it takes."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate, chain
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import Parameter

from caffe_compat import kernels

LEAST = 1 << 14  # values in all that a loop, and Numba with it, is loaded for
PLAIN = {Tensor, Parameter}  # and no subclass, which may compute otherwise


_whole: ContextVar[int] = ContextVar("whole", default=0)


@contextmanager
def parts_of(values: int) -> Iterator[None]:
    """Within this block, updates are of parts of so many values, and take the way that they would together."""
    token = _whole.set(values)
    try:
        yield
    finally:
        _whole.reset(token)


def loops_for(name: str, values: int) -> ModuleType | None:
    """The module `name` of the kernels, where there are enough values; None where torch is to do it."""
    return kernels.loops(name) if values >= LEAST else None


def run_loop(
    name: str, lists: Sequence[Sequence[Tensor]], factors: Sequence[float], constants: Sequence[float] = ()
) -> bool:
    """Run the loop `name` on all parameters; False, and nothing, where torch is to do it.

    lists: the first arrays of all parameters, then the second, as the loop has them; those of a parameter have one
    shape. factors: one a parameter.
    """
    counts, every = list(map(Tensor.numel, lists[0])), list(chain.from_iterable(lists))
    loops = loops_for("updates", max(sum(counts), _whole.get()))
    if loops is None or not _are_plain(every) or not (all(map(Tensor.is_contiguous, every)) or _are_alike(lists)):
        return False
    addresses = [list(map(Tensor.data_ptr, tensors)) for tensors in lists]
    addresses += addresses[:1] * (loops.ARRAYS - len(addresses))
    *starts, total = accumulate(counts, initial=0)
    table = array("q", chain.from_iterable(zip(starts, counts, *addresses, strict=True)))
    getattr(loops, name)(total, table, len(counts), array("d", factors), total, *map(float, constants))
    torch.autograd.graph.increment_version(every)  # so that autograd refuses graphs that need the old values
    return True


def _are_plain(tensors: Sequence[Tensor]) -> bool:
    """Whether there are tensors, all of them memory of float32 on the CPU."""
    is_float = {each.dtype for each in tensors} == {torch.float32}
    return is_float and {type(each) for each in tensors} <= PLAIN and all([each.is_cpu for each in tensors])


def _are_alike(lists: Sequence[Sequence[Tensor]]) -> bool:
    """Whether the arrays of each parameter have their values in the same order, and none between them."""
    return all(
        any(all(map(is_dense, arrays)) for is_dense in (Tensor.is_contiguous, _is_channels_last))
        for arrays in zip(*lists, strict=True)
    )


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
