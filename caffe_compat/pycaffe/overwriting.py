"""A step whose layer reads what layers in place have overwritten, or overwrites what it still has to read.

Net computes such a layer from what Caffe would find in its memory (net/in_place.py); here the blobs are that memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.graph.graph import Node
from caffe_compat.graph.hazards import Hazard, backward_reads
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.backward import Pass
from caffe_compat.net.in_place import derivative, passes_of
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.needs import Need
from caffe_compat.pycaffe.steps import Step


class OverwritingStep(Step):
    """Forward and backward as Caffe's loops go over arrays that layers share."""

    def __init__(
        self, node: Node, layer: Layer, bottoms: list[Blob], tops: list[Blob], need: Need, hazard: Hazard
    ) -> None:
        super().__init__(node, layer, bottoms, tops, need)
        self._in_place = hazard.in_place
        self._forward_pass, self._backward_pass = passes_of(layer, hazard)
        reads = backward_reads(node)
        self._rereads, self._rereads_tops = {*reads.bottoms, *reads.signs}, set(reads.tops)
        self._read: tuple[Tensor, ...] = ()
        self._made: tuple[Tensor, ...] = ()

    def forward(self) -> None:
        self.reshape()
        bottoms = tuple(bottom._read() for bottom in self.bottoms)
        self._read = tuple(each.clone() for each in bottoms)
        made = self._forward_pass(self.layer, *bottoms)
        self._made = tuple(each.clone() for each in (made if isinstance(made, tuple) else (made,)))
        self._store(bottoms, tuple(each.clone() for each in self._made))

    def backward(self) -> None:
        if not self.need.layer or not self._made:
            return
        bottoms = _now(self.bottoms, self._read, self._rereads)
        tops = _now(self.tops, self._made, self._rereads_tops)
        diffs = tuple(top._diff.current(top._shape).clone() for top in self.tops)
        learns = tuple(parameter.requires_grad for parameter in self.parameters)
        wanted = tuple(self.need.bottoms)
        gradients: list[Any]
        if self._backward_pass is None:
            gradients = derivative(self.layer, bottoms, diffs, wanted, learns)
        else:
            found = Pass(bottoms, tops, self._read, self._made, diffs[0], wanted, self._in_place)
            gradients = list(self._backward_pass(self.layer, found))
        for bottom, gradient, wants in zip(self.bottoms, gradients, wanted, strict=False):
            if wants and gradient is not None:
                bottom._diff.write(gradient.contiguous())
        for blob, gradient, learns_it in zip(self.blobs, gradients[len(self.bottoms) :], learns, strict=False):
            if learns_it and gradient is not None:
                blob._diff.add(gradient.contiguous())


def _now(blobs: list[Blob], before: tuple[Tensor, ...], reread: set[int]) -> tuple[Tensor, ...]:
    """What lies in the blobs that are read again, and what lay in the others."""
    found = []
    for index, (blob, value) in enumerate(zip(blobs, before, strict=True)):
        there = blob._read().detach() if index in reread else value
        if there.numel() != value.numel():  # a layer in place made the blob smaller: the rest lies where it was
            there = torch.cat([there.flatten(), value.flatten()[there.numel() :]])
        found.append(there.reshape(value.shape).clone())
    return tuple(found)
