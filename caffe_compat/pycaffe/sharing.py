"""Steps whose tops are the memory of a bottom or of a learnable blob (ShareData and ShareDiff in Caffe's layers)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from caffe_compat.pycaffe.memory import Memory
from caffe_compat.pycaffe.steps import Step


class ReshapeStep(Step):
    """Reshape, Concat of one bottom, Slice of one top: data and diff are the bottom's from the first Reshape on."""

    def share(self) -> None:
        for top in self.tops:
            top._data, top._diff = self.bottoms[0]._data, self.bottoms[0]._diff

    def forward(self) -> None:
        self.reshape()

    def backward(self) -> None:
        """What is written into the top's diff is the bottom's."""


class FlattenStep(Step):
    """Flatten: the top takes the bottom's data in forward, the bottom the top's diff in backward."""

    def forward(self) -> None:
        self.reshape()
        self.tops[0]._data = self.bottoms[0]._data

    def backward(self) -> None:
        if self.need.layer:
            self.bottoms[0]._diff = self.tops[0]._diff


class RecurrentStep(Step):
    """RNN and LSTM: the diffs of their tops lie in the net that they unroll, which reads them there.

    What a Flatten behind them puts in the place of a top's diff, they do not find.
    """

    _inner: tuple[Memory, ...] = ()

    def share(self) -> None:
        self._inner = tuple(
            inner.fitting(top.count)
            for inner, top in zip(self._inner or [top._diff for top in self.tops], self.tops, strict=True)
        )
        self._put_diffs(self._inner)

    def backward(self) -> None:
        seen = [top._diff for top in self.tops]
        self._put_diffs(self._inner)
        try:
            super().backward()
        finally:
            self._put_diffs(seen)

    def _put_diffs(self, memories: Iterable[Memory]) -> None:
        for top, memory in zip(self.tops, memories, strict=True):
            top._diff = memory


class SplitStep(Step):
    """Split: the tops take the bottom's data in forward; the bottom gets the sum of their diffs in backward."""

    def forward(self) -> None:
        self.reshape()
        for top in self.tops:
            top._data = self.bottoms[0]._data

    def backward(self) -> None:
        if not (self.need.layer and self.wanted[0]):
            return
        first, *others = [top._diff.current(top._shape) for top in self.tops]
        self.bottoms[0]._diff.release()
        total = torch.add(first, others[0]) if others else first.clone()
        for other in others[1:]:
            total += other
        self.bottoms[0]._diff.write(total)


class ParameterStep(Step):
    """Parameter: the top is the learnable blob, data and diff, from the first forward pass on."""

    def forward(self) -> None:
        self.reshape()
        self.tops[0]._data, self.tops[0]._diff = self.blobs[0]._data, self.blobs[0]._diff

    def backward(self) -> None:
        """What is written into the top's diff is the blob's: it is not added, but gets memory of its own here."""
        top = self.tops[0]
        if not top._diff.is_empty:
            top._diff.write(top._diff.current(top._shape).clone(memory_format=torch.contiguous_format))
