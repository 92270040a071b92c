"""`Blob`: values and gradients as live, writable NumPy views (blob.cpp, _caffe.cpp)."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from torch import Tensor

from caffe_compat.layers.numpy_blob import LegacySizes
from caffe_compat.pycaffe.bindings import Bound, CheckError, check, whole
from caffe_compat.pycaffe.memory import Look, Memory, Shape, Shown
from caffe_compat.pycaffe.vectors import IntVec

MOST_VALUES, MOST_AXES = 2**31 - 1, 32
NOBODY = Look()
_viewing = threading.Lock()


class Blob(LegacySizes, Bound):
    """`data` and `diff`, float32, of one shape; both may be shared with other blobs.

    Every access gives a new array on the same memory and keeps that alive. Only a net or `add_blob` makes blobs.
    """

    def __new__(cls, *args: Any) -> Blob:
        if not args:
            raise RuntimeError("This class cannot be instantiated from Python")
        return super().__new__(cls)

    def __init__(self, shape: Shape) -> None:
        self._shape = tuple(shape)
        self._data = Memory(math.prod(shape))
        self._diff = Memory(self._data.capacity)
        self._kept: list[Shown] = []  # the arrays that views of this blob may show
        self._told = NOBODY

    @property
    def data(self) -> np.ndarray:
        """The values."""
        self._told.at(self._data)
        return self._view(self._data.shown)

    @property
    def diff(self) -> np.ndarray:
        """Their gradients."""
        self._told.at(self._diff)
        return self._view(self._diff.shown)

    @property
    def shape(self) -> IntVec:
        return IntVec(self._shape)

    @property
    def count(self) -> int:
        """How many values there are."""
        return math.prod(self._shape)

    def reshape(self, *shape: int, **kwargs: Any) -> None:
        """Take another shape, of ints. Memory that is large enough stays; else both arrays are new, of zeros."""
        if kwargs:
            raise RuntimeError("Blob.reshape takes no kwargs")
        self._told.settle()
        self._resize(tuple(whole("reshape", size) for size in shape))

    def _resize(self, shape: Shape) -> None:
        if shape == self._shape:
            return
        check(len(shape) <= MOST_AXES, f"shape.size() <= kMaxBlobAxes ({len(shape)} vs. {MOST_AXES})")
        for size in shape:
            check(size >= 0, f"shape[i] >= 0 ({size} vs. 0)")
        count = math.prod(shape)
        check(math.prod(size or 1 for size in shape) <= MOST_VALUES, f"shape[i] <= 2147483647 / count_ {shape}",
              "blob size exceeds INT_MAX")  # fmt: skip
        self._data = self._data.fitting(count)
        self._diff = self._diff.fitting(count)
        self._shape = shape

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise CheckError(
                f"Check failed: num_axes() <= 4 ({len(self._shape)} vs. 4) "
                "Cannot use legacy accessors on Blobs with > 4 axes."
            )
        return self._shape[axis] if axis < len(self._shape) else 1

    def _view(self, shown: Shown) -> np.ndarray:
        """A new array on that of `shown` in the blob's shape, whose base is the blob."""
        if not any(shown is kept for kept in self._kept):
            self._kept = [kept for kept in self._kept if kept.is_seen] + [shown]
        address = shown.array.__array_interface__["data"][0]
        interface = {"version": 3, "typestr": "<f4", "shape": self._shape, "data": (address, False)}
        with _viewing:  # NumPy asks the object for it; but a blob itself is no array, as in pycaffe
            self.__dict__["__array_interface__"] = interface
            try:
                view = np.asarray(self)
            finally:
                del self.__dict__["__array_interface__"]
        shown.count(view)
        return view

    def _read(self) -> Tensor:
        return self._data.read(self._shape)

    def _string(self) -> str:
        """The shape as Caffe writes it: "2 3 (6)"."""
        return "".join(f"{size} " for size in self._shape) + f"({self.count})"
