"""Layers without bottoms on their blobs: what they read goes into the tops; what a script put there stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from caffe_compat.layers.caffe.input_data import DummyData, MemoryData
from caffe_compat.layers.source import SourceLayer
from caffe_compat.pycaffe.bindings import check
from caffe_compat.pycaffe.steps import Step


class SourceStep(Step):
    """A data layer: the next batch at each forward; nothing for an Input, whose tops are the script's."""

    layer: SourceLayer

    def reshape(self) -> None:
        """The shapes of a source are its own, or those a script gave to the blobs."""

    def forward(self) -> None:
        if self.layer.fed:
            return
        for blob, values in zip(self.tops, self.layer.next_batch(), strict=True):
            blob._resize(tuple(values.shape))
            blob._data.write(values.float().clone(memory_format=torch.contiguous_format))

    def backward(self) -> None:
        """Nothing lies below."""


class DummyStep(SourceStep):
    """DummyData: a constant is filled in once, when the net is built; what is not is drawn anew each time."""

    layer: DummyData

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._refills = [filler.type != "constant" for filler in self.layer.fillers]
        self._fill(refilled=False)

    def forward(self) -> None:
        self._fill(refilled=True)

    def _fill(self, refilled: bool) -> None:
        for index, (blob, refills) in enumerate(zip(self.tops, self._refills, strict=True)):
            if refills == refilled:
                values = self.layer.values(index).float()
                blob._data.write(values.clone(memory_format=torch.contiguous_format))


class MemoryStep(SourceStep):
    """MemoryData: its tops are parts of the script's own arrays, one batch after the other and round again."""

    layer: MemoryData

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._arrays: tuple[np.ndarray, np.ndarray] | None = None
        self._place = 0

    def set_arrays(self, data: Any, labels: Any) -> None:
        """Take float32 arrays (n, channels, height, width) and (n, 1, 1, 1) as they are; RuntimeError as in pycaffe."""
        batch, *sizes = self.layer.shape
        for name, array, wanted in (("data array", data, sizes), ("labels array", labels, [1, 1, 1])):
            _check_array(name, array, wanted)
        if len(data) != len(labels):
            raise RuntimeError("data and labels must have the same first dimension")
        if len(data) % batch:
            raise RuntimeError("first dimensions of input arrays must be a multiple of batch size")
        self._arrays, self._place = (data, labels), 0

    def forward(self) -> None:
        check(self._arrays is not None, "data_", "MemoryDataLayer needs to be initialized by calling Reset")
        assert self._arrays is not None  # for the type checker: `check` has refused None
        batch = self.layer.shape[0]
        for blob, array in zip(self.tops, self._arrays, strict=True):
            blob._resize((batch, *array.shape[1:]))
            blob._data.hold(array[self._place : self._place + batch].reshape(-1))
        self._place = (self._place + batch) % len(self._arrays[0])


def _check_array(name: str, array: Any, sizes: list[int]) -> None:
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        raise RuntimeError(f"{name} must be C contiguous")
    if array.ndim != 4:
        raise RuntimeError(f"{name} must be 4-d")
    if array.dtype != np.float32:
        raise RuntimeError(f"{name} must be float32")
    for axis, (size, word) in enumerate(zip(sizes, ("number of channels", "height", "width"), strict=True)):
        if array.shape[axis + 1] != size:
            raise RuntimeError(f"{name} has wrong {word}")


KINDS: dict[type[SourceLayer], type[SourceStep]] = {DummyData: DummyStep, MemoryData: MemoryStep}
