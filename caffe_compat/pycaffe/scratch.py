"""Steps of layers that use diffs and copies as scratch paper, and read there again what was left."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.layers.caffe.hinge_loss import HingeLoss
from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.layers.loss import rows
from caffe_compat.net.in_place import derivative
from caffe_compat.pycaffe.steps import Step


class HingeStep(Step):
    """HingeLoss: forward leaves the margins in the bottom's diff, from which backward makes the gradient."""

    layer: HingeLoss

    def forward(self) -> None:
        self.reshape()
        scores, labels = (bottom._data.peek(bottom._shape) for bottom in self.bottoms)
        margins = self.layer.margins(scores, labels)
        self._store((scores, labels), (self.layer.total(margins),))
        self.bottoms[0]._diff.write(margins.view(scores.shape))

    def backward(self) -> None:
        if not self.need.layer:
            return
        self._refuse()
        if not self.wanted[0]:
            return
        scores, labels = self.bottoms
        left = rows(scores._diff.current(scores._shape))
        left = left * self.layer.signs(left, labels._data.peek(labels._shape))
        slope = left.sign() if self.layer.norm == "L1" else 2 * left
        weight = self.tops[0]._diff.current(self.tops[0]._shape)
        scores._diff.write((slope * (weight / len(left))).view(scores._shape))


class ScaleStep(Step):
    """Scale: the product of bottom and top diff lies where the layer finds room, before it is summed.

    That is the diff of the factors where it is as large as the bottom; else the bottom's, unless the layer is in place:
    then the copy of the bottom, which the next backward pass reads for it.
    """

    layer: Scale

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._is_in_place = self.tops[0] is self.bottoms[0]
        self._product: tuple[Tensor, Tensor] | None = None  # what lies in that copy: the factors that make it

    def forward(self) -> None:
        self._product = None
        super().forward()

    def forget(self) -> None:
        self._product = None
        super().forget()

    def was_run_back(self, diff: Tensor | None) -> None:
        if diff is not None and self._is_in_place and self._sums() and self._record is not None:
            self._product = self._record.bottoms[0].detach(), diff

    def backward(self) -> None:
        if not self.need.layer or self.is_done:
            return
        if not self._sums():
            super().backward()
        elif self._is_in_place:
            self._backward_in_place()
        else:
            super().backward()
            if not self.wanted[0]:
                bottom, top = self.bottoms[0], self.tops[0]
                bottom._diff.write(bottom._data.peek(bottom._shape) * top._diff.current(top._shape))

    def _sums(self) -> bool:
        """Whether products are summed to the gradient of factors: there is one, of fewer values than the bottom."""
        alone = len(self.bottoms) == 1
        learns = self.learning[0] if alone else self.wanted[1]
        factors = self.blobs[0] if alone else self.bottoms[1]
        return learns and factors.count != self.bottoms[0].count

    def _backward_in_place(self) -> None:
        """At the copy: the bottom, and behind the first backward pass what that has left there."""
        top = self.tops[0]
        diff = top._diff.current(top._shape)
        diff = diff.clone() if top._diff.is_watched else diff
        if self._product is None or self._record is None:
            super().backward()
            if self._record is not None:
                self._product = self._record.bottoms[0].detach(), diff
            return
        copy = torch.mul(*self._product)
        learns = self.learning
        bottoms = (copy, *(bottom._read().clone() for bottom in self.bottoms[1:]))
        found = derivative(self.layer, bottoms, (diff,), tuple(self.wanted), learns)
        self._put_found(found)
        self._product = copy, diff
