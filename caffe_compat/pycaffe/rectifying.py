"""ReLU on blobs: the layer writes on its bottom in place where the net may, and keeps nothing for its gradient."""

from __future__ import annotations

from caffe_compat.layers.caffe.backward import Pass
from caffe_compat.pycaffe.steps import Step


class RectifierStep(Step):
    """As Caffe's: backward reads of its bottom what lies there then, which in place is what it has made itself."""

    def forward(self) -> None:
        self.reshape()
        bottom = self.bottoms[0]._data.peek(self.bottoms[0]._shape)
        self._store((bottom,), (self.layer(bottom),))

    def backward(self) -> None:
        rule = self.passes[1]
        if not (self.need.layer and self.wanted[0]) or rule is None:
            return
        now, diff = self.bottoms[0]._data.peek(self.bottoms[0]._shape), self.tops[0]._diff.current(self.tops[0]._shape)
        found = rule(self.layer, Pass((now,), (now,), (now,), (now,), (diff,), (True,), False))
        self._put(found, [], [])
