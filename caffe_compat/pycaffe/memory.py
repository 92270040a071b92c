"""The memory of blobs: what layers compute with, and the array that scripts look at, kept the same.

Caffe has one array for both (SyncedMemory). Here layers make new tensors, in the layout that suits them, which become
the memory as they are. Once a script has looked, there is an array too, which stays where it is: what layers make is
copied into it, and what the script writes into it is noticed when a layer next reads.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
Content = tuple["np.ndarray | None", "Tensor | None", "Shown | None"]
"""An array, a tensor, and the views of the array."""


class Clock:
    """Counts the moments at which a script may have written into arrays: between passes, in callbacks."""

    def __init__(self) -> None:
        self.now = 0

    def tick(self) -> None:
        self.now += 1


CLOCK = Clock()


class Shown:
    """An array of a Memory, and the views of it that are left."""

    __slots__ = ("_views", "array")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._views: dict[int, weakref.ref[np.ndarray]] = {}

    @property
    def is_seen(self) -> bool:
        """Whether a script still holds a view, or what it made of one."""
        return bool(self._views)

    def count(self, view: np.ndarray) -> None:
        """Take note of a view until it is gone."""
        reference = weakref.ref(view, self._forget)
        self._views[id(reference)] = reference

    def _forget(self, reference: weakref.ref[np.ndarray]) -> None:
        self._views.pop(id(reference), None)


class Memory:
    """Float32 values of one or several blobs, zeros at first.

    capacity: how many. edits: how often a script was found to have changed what a layer had read or made.
    """

    __slots__ = ("_agreed", "_array", "_shown", "_tensor", "capacity", "edits")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.edits = 0
        self._array: np.ndarray | None = None  # flat
        self._tensor: Tensor | None = None
        self._agreed = 0  # when array and tensor were last equal
        self._shown: Shown | None = None

    @property
    def shown(self) -> Shown:
        """The array that `look` gives, with its views."""
        array = self.look()
        if self._shown is None or self._shown.array is not array:
            self._shown = Shown(array)
        return self._shown

    @property
    def is_seen(self) -> bool:
        """Whether a script holds a view of it."""
        return self._array is not None and self._shown is not None and self._shown.is_seen

    @property
    def is_watched(self) -> bool:
        """Whether a script has looked at it."""
        return self._array is not None

    @property
    def is_empty(self) -> bool:
        """Whether nobody has written or looked since it was cleared: all zeros."""
        return self._array is None and self._tensor is None

    def look(self) -> np.ndarray:
        """The values as a flat array, the same from now on, which scripts may write into."""
        if self._array is None:
            self._array = np.zeros(self.capacity, np.float32)
            if self._tensor is not None:
                _as_tensor(self._array, self._tensor.shape).copy_(self._tensor)
                self._agreed = CLOCK.now
        return self._array

    def read(self, shape: Shape) -> Tensor:
        """The values as a tensor that no script writes into: another one where a script has changed them."""
        if self._array is None:
            if self._tensor is None:
                self._tensor = torch.zeros(shape, dtype=torch.float32, device="cpu")
            elif self._tensor.shape != shape:
                self._tensor = _reshaped(self._tensor, shape)
            return self._tensor
        if self._agreed == CLOCK.now and self._tensor is not None and self._tensor.shape == shape:
            return self._tensor
        seen = _as_tensor(self._array, shape)
        if self._tensor is None or self._tensor.shape != shape or not torch.equal(self._tensor, seen):
            self._tensor = seen.clone()
            self.edits += 1
        self._agreed = CLOCK.now
        return self._tensor

    def peek(self, shape: Shape) -> Tensor:
        """The values for a layer that keeps nothing of them: the script's array itself where there is one."""
        if self._array is None or (self._agreed == CLOCK.now and self._tensor is not None):
            return self.read(shape)
        return _as_tensor(self._array, shape)

    def release(self) -> None:
        """Give the values up, which are about to be written anew: what computes them finds the memory free."""
        if self._array is None:
            self._tensor = None

    def drop(self) -> None:
        """Give up values and array, which whoever calls this can make again; no view of it may be left."""
        self._array = self._tensor = self._shown = None

    def exchange(self, content: Content) -> Content:
        """Hold `content` from now on; what was held before."""
        before = self._array, self._tensor, self._shown
        self._array, self._tensor, self._shown = content
        self._agreed = CLOCK.now if self._array is None else self._agreed
        return before

    def write(self, values: Tensor) -> None:
        """Take `values`, which nobody else writes into, as what is here from now on."""
        if self._array is not None:
            _as_tensor(self._array, values.shape).copy_(values)
        self._tensor = values
        self._agreed = CLOCK.now

    def add(self, values: Tensor) -> None:
        """Add `values`, which may be kept where there is nothing yet."""
        if self._array is not None:
            _as_tensor(self._array, values.shape).add_(values)
        elif self._tensor is None:
            self._tensor = values
        else:
            self._tensor = self._tensor.view(values.shape).add_(values)

    def current(self, shape: Shape) -> Tensor:
        """The values as a tensor on the very memory, to be read or written at once."""
        if self._array is not None:
            return _as_tensor(self._array, shape)
        return self.read(shape)

    def clear(self) -> None:
        """Zeros again."""
        if self._array is not None:
            self._array.fill(0)
        self._tensor = None

    def fitting(self, count: int) -> Memory:
        """This memory where it holds `count` values; else another one, of zeros."""
        return self if count <= self.capacity else self._grown(count)

    def _grown(self, capacity: int) -> Memory:
        return Memory(capacity)

    def hold(self, array: np.ndarray) -> None:
        """Have `array`, flat, as the memory from now on: the user's own, of MemoryData."""
        self._array, self._tensor, self.capacity = array, None, array.size


class Look:
    """Who is told that a script is about to see what a blob holds: here nobody."""

    def at(self, memory: Memory) -> None:
        """What lies in `memory` is about to be seen."""

    def settle(self) -> None:
        """All that blobs hold is about to be used."""


class ParameterMemory(Memory):
    """The memory of a learnable blob: that of its nn.Parameters, one in each net that shares it."""

    __slots__ = ("_layout", "parameters")

    def release(self) -> None:
        """They lie in the nn.Parameters."""

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__(parameter.numel())
        self.parameters = [parameter]
        self._layout = torch.contiguous_format  # of the values before a script looked

    def look(self) -> np.ndarray:
        if self._array is None:
            before = self.parameters[0].data
            values = before.contiguous()
            self._layout = torch.contiguous_format if before.is_contiguous() else torch.channels_last
            for parameter in self.parameters:
                parameter.data = values.view(parameter.shape)
            self._array = values.numpy().reshape(-1)
        return self._array

    def current(self, shape: Shape) -> Tensor:
        return _as_tensor(self.look(), shape)

    def read(self, shape: Shape) -> Tensor:
        return self.current(shape)

    @property
    def is_lent(self) -> bool:
        """Whether several nets have it."""
        return len(self.parameters) > 1

    def lay_out(self) -> None:
        """Lie as before a script looked, where no view is left."""
        if self._layout is torch.channels_last and self._array is not None and not self.is_seen:
            values = self.parameters[0].data.contiguous(memory_format=torch.channels_last)
            for parameter in self.parameters:
                parameter.data = values
            self._array = self._shown = None

    def lend(self, parameter: nn.Parameter) -> None:
        """Let `parameter` be on this memory too."""
        parameter.data = self.current(tuple(parameter.shape))
        self.parameters.append(parameter)

    def give(self, parameter: nn.Parameter, other: ParameterMemory) -> None:
        """Let `parameter`, which is on this memory, be on `other`'s; what else is here stays."""
        self.parameters = [each for each in self.parameters if each is not parameter] or self.parameters
        if not any(each is parameter for each in other.parameters):
            other.lend(parameter)

    def take_over(self) -> nn.Parameter:
        """An nn.Parameter on these values in place of those that are, which others go on with elsewhere."""
        self.look()
        before = self.parameters[0]
        self.parameters = [nn.Parameter(before.data, before.requires_grad)]
        return self.parameters[0]

    def write(self, values: Tensor) -> None:
        self.current(tuple(values.shape)).copy_(values)

    def _grown(self, capacity: int) -> Memory:
        memory = ParameterMemory(self.parameters[0])
        memory.capacity, memory._array = capacity, np.zeros(capacity, np.float32)
        memory.parameters = []
        for parameter in self.parameters:
            memory.lend(parameter)
        return memory


def _reshaped(values: Tensor, shape: Shape) -> Tensor:
    """The first of `values` in another shape, zeros behind them."""
    count, flat = math.prod(shape), values.contiguous().view(-1)
    if count > flat.numel():
        flat = torch.cat([flat, flat.new_zeros(count - flat.numel())])
    return flat[:count].view(shape)


def _as_tensor(array: np.ndarray, shape: Any) -> Tensor:
    count = math.prod(shape)
    return torch.from_numpy(array[:count] if array.size != count else array).view(tuple(shape))
