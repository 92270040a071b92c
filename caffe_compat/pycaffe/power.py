"""Power on blobs: the slope is Caffe's own, power * top / bottom, which is 0 / 0 where both are 0."""

from __future__ import annotations

from caffe_compat.layers.caffe.power import Power
from caffe_compat.pycaffe.steps import Step


class PowerStep(Step):
    """For powers but 1 and 2, of which Caffe has the slope without a division."""

    layer: Power

    def backward(self) -> None:
        if self.need.layer and self.wanted[0]:
            bottom, top = self.bottoms[0], self.tops[0]
            values = bottom._data.peek(bottom._shape), top._data.peek(top._shape)
            self._backward_from_memory(values[:1], values[1:])
