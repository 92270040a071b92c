"""Blobs as pycaffe shows them to Python layers (_caffe.cpp): arrays of NumPy, and sizes of the four old axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from caffe_compat.layers.base import Shape


class LegacySizes:
    """num, channels, height and width: the four axes that every blob once had; 1 behind the last (blob.hpp)."""

    shape: Any

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1  # type: ignore[no-any-return]


class NumPyBlob(LegacySizes):
    """A blob as pycaffe shows it: `data` and `diff`, arrays of one shape; `reshape` gives them another."""

    def __init__(self, shape: Shape, dtype: Any = np.float32) -> None:
        self.data: np.ndarray = np.zeros(shape, dtype)
        self.diff: np.ndarray = np.zeros(shape, dtype)

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def count(self) -> int:
        return self.data.size

    def reshape(self, *shape: int) -> None:
        """Take another shape; where the count stays, so do the values."""
        if shape == self.shape:
            return
        if np.prod(shape, dtype=np.int64) == self.count:
            self.data, self.diff = self.data.reshape(shape), self.diff.reshape(shape)
        else:
            self.data, self.diff = np.zeros(shape, self.data.dtype), np.zeros(shape, self.diff.dtype)

    def cast(self, dtype: Any) -> None:
        """Make both arrays of `dtype`."""
        self.data, self.diff = self.data.astype(dtype, copy=False), self.diff.astype(dtype, copy=False)

    def hold(self, values: Tensor) -> None:
        """Take a copy of the values of a tensor, and its shape; diff becomes zeros."""
        self.data = values.detach().cpu().numpy().copy(order="C")
        self.diff = np.zeros_like(self.data)


class BlobVector(list[NumPyBlob]):
    """The learnable blobs of a Python layer, `self.blobs`."""

    def add_blob(self, *shape: int) -> None:
        """Append a blob of zeros."""
        self.append(NumPyBlob(shape))
