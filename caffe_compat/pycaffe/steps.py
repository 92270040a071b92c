"""One layer of a net on its blobs: shapes, forward, backward (layer.hpp).

Forward runs the registered Layer on what its bottoms hold, with an autograd graph of its own where the net needs a
backward pass; backward asks that graph for the gradients of bottoms and learnable blobs, at the diffs that the tops
have then. What autograd saved lies in the blobs' own memory, so that what a script writes there in between is read, as
in Caffe; layers of the types in REREADS compute anew from bottoms that were changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.graph import Node
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.net.build import loss_weights
from caffe_compat.net.shapes import top_shapes
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.checks import in_caffes_words
from caffe_compat.pycaffe.needs import Need
from caffe_compat.pycaffe.vectors import BlobVec

# Types whose backward pass in Caffe reads the bottoms as they are then, not what forward kept of them
REREADS = frozenset(
    {"AbsVal", "BNLL", "Clip", "Convolution", "Deconvolution", "ELU", "Eltwise", "Embed", "InnerProduct", "LRN", "Log"}
    | {"Power", "ReLU"}
)
# Those of them for which the values of a layer in place do as well as those it overwrote: the signs are the same
_SAME_SIGNS = frozenset({"ELU", "ReLU"})
# Types whose backward pass in Caffe reads the top as it is then; autograd has saved the top that they made
_READS_TOP = frozenset({"Exp", "Sigmoid", "Softmax", "TanH"})
# Types whose tops are the memory of the bottom: its data, and of some its diff (ShareData, ShareDiff)
SHARES_DATA = frozenset({"Split", "Reshape", "Flatten"})
SHARES_DIFF = frozenset({"Reshape", "Flatten"})
_SHARES_ALONE = frozenset({"Concat", "Slice"})  # with one bottom, or one top
# Types whose tops are never the memory of a bottom or a learnable blob
_FRESH = frozenset(
    {"BatchNorm", "Convolution", "Deconvolution", "Eltwise", "InnerProduct", "LRN", "Pooling", "ReLU", "Softmax"}
)


class Step:
    """Layer `number` of a net: the Layer, its blobs, and what its last forward pass left for the backward one."""

    def __init__(self, node: Node, layer: Layer, bottoms: list[Blob], tops: list[Blob], need: Need) -> None:
        self.node, self.layer, self.bottoms, self.tops, self.need = node, layer, bottoms, tops, need
        self.name, self.type = str(node.param.name), str(node.param.type)
        self.loss_weights = loss_weights(node, layer)
        self.blobs = BlobVec()
        self.parameters = list(layer.blobs)
        self.follower: Step | None = None  # the layer in place behind, which this one's Layer computes too
        self.is_done = False  # by the layer before, in the last forward pass
        alone = self.type in _SHARES_ALONE and len(bottoms) == len(tops) == 1
        self.shares_data, self.shares_diff = self.type in SHARES_DATA or alone, self.type in SHARES_DIFF or alone
        self._losses = [top for top, weight in zip(tops, self.loss_weights, strict=True) if weight]
        self._bottom_shapes: list[Shape] = [bottom._shape for bottom in bottoms]
        self._top_shapes: list[Shape] = [top._shape for top in tops]
        self._record: _Record | None = None
        for top, weight in zip(tops, self.loss_weights, strict=True):
            if weight:
                top._diff.write(torch.full(top._shape, weight))
        self._share()

    def reshape(self) -> None:
        """Give the tops the shapes that follow from those of the bottoms; CheckError where a bottom cannot be taken."""
        shapes = [bottom._shape for bottom in self.bottoms]
        if shapes != self._bottom_shapes:
            try:
                self._top_shapes = top_shapes(self.node, self.layer, shapes)
            except CaffeCompatError as error:
                raise in_caffes_words(error, self.node.param) from error
            self._bottom_shapes = shapes
        for top, shape in zip(self.tops, self._top_shapes, strict=True):
            if top._shape != shape:
                top._resize(shape)
        self._share()

    def forward(self) -> None:
        """Compute the tops."""
        if self.is_done:
            return
        self.reshape()
        if self.need.layer:
            self._record = _Record(self)
            self._store(self._record.bottoms, self._record.tops)
        else:
            bottoms = [bottom._data.peek(bottom._shape) for bottom in self.bottoms]
            self._store(bottoms, _as_tuple(self.layer(*bottoms)))

    def loss(self) -> float:
        """The sum over the tops that count as a loss of their values times their diffs, which hold the weight."""
        return sum(
            float(torch.dot(top._data.peek(top._shape).reshape(-1), top._diff.current(top._shape).reshape(-1)))
            for top in self._losses
        )

    def backward(self) -> None:
        """Compute the diffs of the bottoms that need one, and add to those of the learnable blobs."""
        if not self.need.layer or self.is_done:
            return
        if self._record is None or self._record.is_outdated():
            self._record = _Record(self)
        record = self._record
        pairs = [(top, blob._diff.current(blob._shape)) for top, blob in zip(record.tops, self.tops, strict=True)
                 if top.requires_grad]  # fmt: skip
        if not pairs or not record.learning:
            return
        given = [diff for _, diff in pairs]
        gradients = iter(_own(_gradients([top for top, _ in pairs], record.learning, given), given))
        for bottom, wanted in zip(self.bottoms, self.need.bottoms, strict=True):
            if wanted and (gradient := next(gradients)) is not None:
                if not self.shares_diff or bottom._diff is not self.tops[0]._diff:
                    bottom._diff.write(gradient)
            elif wanted:
                bottom._diff.clear()
        for blob, gradient in zip(record.learned, gradients, strict=True):
            if gradient is not None:
                blob._diff.add(gradient)

    def _share(self) -> None:
        if self.shares_data:
            for top in self.tops:
                top._data = self.bottoms[0]._data
        if self.shares_diff:
            for top in self.tops:
                top._diff = self.bottoms[0]._diff

    def _store(self, bottoms: Sequence[Tensor], tops: Sequence[Tensor]) -> None:
        if self.shares_data:
            return
        taken = set() if self.type in _FRESH else {_address(value) for value in (*bottoms, *self.parameters)}
        for blob, top in zip(self.tops, tops, strict=True):
            values = top.detach() if top.requires_grad else top
            if values.dtype != torch.float32:
                values = values.float()
            if not _is_dense(values):
                values = values.contiguous()
            if self.type not in _FRESH:
                if _address(values) in taken and not any(blob._data is bottom._data for bottom in self.bottoms):
                    values = values.clone()
                taken.add(_address(values))
            blob._data.write(values)


class _Record:
    """A forward pass with its autograd graph, on what the blobs of a step hold now.

    bottoms, tops: the tensors. learning: those of the bottoms and learnable blobs that get a gradient; learned: the
    learnable blobs among these.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        values = [bottom._read() for bottom in step.bottoms]
        self.bottoms = [
            value.detach().requires_grad_() if wanted else value.detach()
            for value, wanted in zip(values, step.need.bottoms, strict=True)
        ]
        with torch.enable_grad():
            self.tops = _as_tuple(step.layer(*self.bottoms))
        pairs = list(zip(step.parameters, step.blobs, strict=False))
        if step.follower is not None:
            pairs += zip(step.follower.parameters, step.follower.blobs, strict=False)
        self.learned = [blob for parameter, blob in pairs if parameter.requires_grad]
        self.learning = [bottom for bottom in self.bottoms if bottom.requires_grad]
        self.learning += [parameter for parameter, _ in pairs if parameter.requires_grad]
        self._parameters = [parameter.data_ptr() for parameter in step.parameters]
        self._blobs = (*step.bottoms, *step.tops)
        self._read = [bottom.data_ptr() for bottom in self.bottoms]
        self._edits = [blob._data.edits for blob in self._blobs]
        self._shapes = [blob._shape for blob in self._blobs]

    def is_outdated(self) -> bool:
        """Whether backward would compute from other values than the blobs hold, of those that Caffe reads there."""
        if [blob._shape for blob in self._blobs] != self._shapes:
            return True
        for blob in self._blobs:
            if blob._data.is_watched:
                blob._read()
        kind = self.step.type
        if kind in _READS_TOP and (now := self.step.tops[0]._read()).data_ptr() != self.tops[0].data_ptr():
            self.tops[0].data.copy_(now)  # a layer in place has overwritten it
        if kind not in REREADS:
            return False
        if [blob._data.edits for blob in self._blobs] != self._edits:
            return True
        if kind not in _SAME_SIGNS and [blob._read().data_ptr() for blob in self.step.bottoms] != self._read:
            return True  # a layer in place has overwritten a bottom
        return [parameter.data_ptr() for parameter in self.step.parameters] != self._parameters


def _as_tuple(tops: Any) -> tuple[Tensor, ...]:
    if tops is None:
        return ()
    return tops if isinstance(tops, tuple) else tuple(tops) if isinstance(tops, list) else (tops,)


def _address(values: Tensor) -> int:
    """Where the memory begins that a tensor shows, or shows a part of."""
    return values.untyped_storage().data_ptr()


def _is_dense(values: Tensor) -> bool:
    return values.is_contiguous() or (values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last))


def _gradients(tops: list[Tensor], learning: list[Tensor], diffs: list[Tensor]) -> tuple[Tensor | None, ...]:
    """torch.autograd.grad(tops, learning, diffs) that keeps the graph, without its checks of shapes.

    Those take as long as the backward pass of a small layer, and the diffs have the shapes of the tops.
    """
    found: tuple[Tensor | None, ...] = torch.autograd.Variable._execution_engine.run_backward(
        tuple(tops), tuple(diffs), True, False, tuple(learning), allow_unreachable=True, accumulate_grad=False
    )
    return found


def _own(gradients: Sequence[Tensor | None], given: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients, each in dense memory of its own."""
    taken = {_address(diff) for diff in given}
    owned: list[Tensor | None] = []
    for gradient in gradients:
        if gradient is not None:
            gradient = gradient if _is_dense(gradient) else gradient.contiguous()
            gradient = gradient.clone() if _address(gradient) in taken else gradient
            taken.add(_address(gradient))
        owned.append(gradient)
    return owned
