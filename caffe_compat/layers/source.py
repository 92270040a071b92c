"""What the layers have in common that make their own tops; those of stored data are in stored.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError
from caffe_compat.layers.base import Context, Count, Layer, exactly


class SourceLayer(Layer):
    """A layer that makes its own tops.

    The graph feeds it the tops (from `next_batch`, or from the user) and `forward` passes them on, as floating point
    numbers on the device of the net. `fed` is True for one whose values only the user can give.
    """

    gradient: ClassVar[str] = "none"
    bottoms: ClassVar[Count] = exactly(0)
    tops: ClassVar[Count] = Count(1)
    fed: ClassVar[bool] = False
    _home: Tensor

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.register_buffer("_home", torch.empty(0), persistent=False)  # follows .to() and .double()

    def forward(self, *tops: Any) -> Any:
        """The given tops in the net's type, see `value_type`; integers, labels too, become floats as in Caffe."""
        passed = tuple(self._at_home(top) for top in tops)
        return passed[0] if len(passed) == 1 else passed

    def next_batch(self) -> tuple[Tensor, ...]:
        """The next value of every top; DataError where only the user can feed the layer."""
        raise DataError(
            f"layer '{self.name}': a layer of type {self.param.type} has no values of its own; "
            f"give them by name: {', '.join(f'{top}=...' for top in self.param.top)}"
        )

    @property
    def cursor(self) -> int:
        """The number of the batch that `next_batch` gives next, counted from 0."""
        return 0

    def seek(self, cursor: int) -> None:
        """Make `next_batch` give batch number `cursor` next."""

    def close(self) -> None:
        """Close files and stop threads; the next `next_batch` opens them again where they were."""

    def _at_home(self, value: Any) -> Tensor:
        given = torch.as_tensor(value, device=self._home.device)
        return given.to(value_type(given.shape, self._home.dtype))


def as_numbers(value: Any, name: str) -> Tensor:
    """What a user gives for blob `name`, as a tensor: a tensor, or anything that NumPy makes an array of numbers of.

    Arrays may have any strides, byte order and precision, and be read-only; what torch cannot share is copied.
    DataError where it is nothing of the kind.
    """
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.is_complex() or value.is_quantized:
            raise DataError(f"blob '{name}': wanted a dense tensor of numbers, found {value.layout} of {value.dtype}")
        return value
    if torch.compiler.is_dynamo_compiling():  # to which an array is a tensor that it makes itself
        return torch.as_tensor(value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"blob '{name}': wanted an array of numbers, found {type(value).__name__}: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"blob '{name}': wanted an array of numbers, found {type(value).__name__} of {array.dtype}")
    if not array.dtype.isnative or not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(array.astype(np.float64) if array.dtype == np.longdouble else array)


def value_type(shape: Sequence[int], dtype: torch.dtype) -> torch.dtype:
    """The type of an input of `shape` in a net of `dtype`: that, but float32 for labels of a net of half precision.

    For half precision does not hold every class number: bfloat16 none but even ones from 256 on.
    """
    return torch.float32 if dtype.itemsize < 4 and math.prod(shape[1:]) == 1 else dtype
