"""A step whose layer reads what layers in place have overwritten, or overwrites what it still has to read.

Net computes such a layer from what Caffe would find in its memory (net/in_place.py); here the blobs are that memory.
"""

from __future__ import annotations

from torch import Tensor

from caffe_compat.graph.graph import Node
from caffe_compat.graph.hazards import Hazard
from caffe_compat.layers.base import Layer
from caffe_compat.net.in_place import passes_of
from caffe_compat.net.needs import Need
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.steps import Step


class OverwritingStep(Step):
    """Forward and backward as Caffe's loops go over arrays that layers share."""

    def __init__(
        self, node: Node, layer: Layer, bottoms: list[Blob], tops: list[Blob], need: Need, hazard: Hazard
    ) -> None:
        super().__init__(node, layer, bottoms, tops, need)
        self._in_place = hazard.in_place
        self.passes = passes_of(layer, hazard)
        self._read: tuple[Tensor, ...] = ()
        self._made: tuple[Tensor, ...] = ()

    def forward(self) -> None:
        self.reshape()
        bottoms = tuple(bottom._read() for bottom in self.bottoms)
        self._read = tuple(each.clone() for each in bottoms)
        made = self.passes[0](self.layer, *bottoms)
        self._made = tuple(each.clone() for each in (made if isinstance(made, tuple) else (made,)))
        self._store(bottoms, tuple(each.clone() for each in self._made))

    def backward(self) -> None:
        if self.need.layer and self._made:
            self._backward_from_memory(self._read, self._made, self._in_place)
