"""One layer of a net on its blobs: shapes, forward, backward (layer.hpp).

Forward runs the registered Layer on what its bottoms hold, with an autograd graph of its own where the net needs a
backward pass; backward asks that graph for the gradients of bottoms and learnable blobs, at the diffs that the tops
have then. Where what Caffe's backward pass reads (graph/hazards.py) has been overwritten since, by a script or by
another pass over some layers, it is computed from what lies in memory instead (layers/caffe/backward.py).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cached_property

import torch
from torch import Tensor

from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.graph import Node
from caffe_compat.graph.hazards import Hazard, backward_reads
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.backward import Pass
from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.net.build import loss_weights
from caffe_compat.net.in_place import derivative, passes_of
from caffe_compat.net.needs import Need
from caffe_compat.net.shapes import top_shapes
from caffe_compat.pycaffe.bindings import CheckError
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.checks import in_caffes_words
from caffe_compat.pycaffe.empty import end_of_empty, words_for_empty
from caffe_compat.pycaffe.needs import refusal
from caffe_compat.pycaffe.record import Record, as_tuple, gradients
from caffe_compat.pycaffe.vectors import BlobVec

# Types whose tops are never the memory of a bottom or a learnable blob
_FRESH = frozenset(
    {"BatchNorm", "Convolution", "Deconvolution", "Eltwise", "InnerProduct", "LRN", "Pooling", "ReLU", "Softmax"}
)


class Step:
    """Layer `number` of a net: the Layer, its blobs, and what its last forward pass left for the backward one."""

    def __init__(self, node: Node, layer: Layer, bottoms: list[Blob], tops: list[Blob], need: Need) -> None:
        self.node, self.layer, self.bottoms, self.tops, self.need = node, layer, bottoms, tops, need
        self.wanted, self._refusal = need.written, refusal(node, need)
        self.name, self.type = str(node.param.name), str(node.param.type)
        self.loss_weights = loss_weights(node, layer)
        self.blobs = BlobVec()
        self.parameters = list(layer.blobs)
        self.follower: Step | None = None  # the layer in place behind, which this one's Layer computes too
        self.is_done = False  # by the layer before, in the last forward pass
        self.passes = passes_of(layer, Hazard(0))
        reads = backward_reads(node)
        self.rereads = tuple({*reads.bottoms, *reads.signs})
        self.rereads_tops = tuple(index for index in reads.tops if index < len(tops))
        self._losses = [top for top, weight in zip(tops, self.loss_weights, strict=True) if weight]
        self._bottom_shapes: list[Shape] = [bottom._shape for bottom in bottoms]
        self._top_shapes: list[Shape] = [top._shape for top in tops]
        self._record: Record | None = None
        self._end = ""  # where Caffe does, at bottoms of no items
        self.share()
        for top, weight in zip(tops, self.loss_weights, strict=True):
            if weight:
                top._diff.write(torch.full(top._shape, weight, dtype=torch.float32, device="cpu"))

    @cached_property
    def learns(self) -> list[tuple[Tensor, Blob]]:
        """The parameters that get a gradient, with their blobs."""
        triples = zip(self.parameters, self.blobs, self.learning, strict=False)
        return [(parameter, blob) for parameter, blob, learns in triples if learns]

    @property
    def learning(self) -> list[bool]:
        """For each parameter, whether this layer gives it a gradient."""
        return [each.requires_grad and wanted for each, wanted in zip(self.parameters, self.need.blobs, strict=False)]

    def reshape(self) -> None:
        """Give the tops the shapes that follow from those of the bottoms; CheckError where a bottom cannot be taken."""
        if (shapes := [bottom._shape for bottom in self.bottoms]) != self._bottom_shapes:
            try:
                self._top_shapes = top_shapes(self.node, self.layer, shapes)
            except CaffeCompatError as error:
                raise in_caffes_words(error, self.node.param) from error
            self._bottom_shapes = shapes
            self._end = end_of_empty(self.node.param, shapes)
            self.refuse_empty("reshape")
        for top, shape in zip(self.tops, self._top_shapes, strict=True):
            if top._shape != shape:
                top._resize(shape)
        self.share()

    def refuse_empty(self, now: str) -> None:
        """CheckError where Caffe ends at bottoms of no items; now: "reshape", "forward" or "backward"."""
        if self._end == now:
            raise CheckError(words_for_empty(self.node.param, self._bottom_shapes))

    def share(self) -> None:
        """Put tops on the memory of the bottom, where the layer does so whenever it sets their shapes."""

    def forward(self) -> None:
        """Compute the tops."""
        if self.is_done:
            if vars(self.layer)["is_done"]:
                return
            self.is_done = False  # it was, in a pass of joined layers
        self.reshape()
        self._record = None  # its memory serves the next one
        for top in self.tops:
            if all(top._data is not bottom._data for bottom in self.bottoms):
                top._data.release()
        if self.need.layer:
            self._record = record = Record(self)
            record.stored = self._store(record.bottoms, record.tops)
        else:
            bottoms = [bottom._data.peek(bottom._shape) for bottom in self.bottoms]
            self._store(bottoms, as_tuple(self.layer(*bottoms)))

    def forget(self) -> None:
        """Give up what the last forward pass left for the backward one."""
        self._record = None

    def separate(self, second: Step) -> None:
        """Let the layer behind, which this one has computed too, have its own backward pass if weights have changed."""
        record = self._record
        if record is not None and second.is_done and record.has_other_weights():
            statistics = [parameter.detach().clone() for parameter in self.parameters]
            self._record = Record(self, tuple(bottom.detach() for bottom in record.bottoms))
            for parameter, value in zip(self.parameters, statistics, strict=True):
                parameter.data.copy_(value)
            second._record, second.is_done = Record(second, (self._record.tops[0].detach(),)), False
            second.was_run_back(record.diff)

    def was_run_back(self, diff: Tensor | None) -> None:
        """Take note that the last backward pass was that of the layer before, at this diff, if there was one."""

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
        self._refuse()
        if self._record is None or self._record.has_other_shapes():
            self._record = Record(self)
        if self._record.has_other_weights() or self._record.is_overwritten():
            self._backward_from_memory(self._record.bottoms, self._record.tops)
        else:
            self._backward_by_autograd(self._record)

    def _refuse(self) -> None:
        """CheckError where Caffe has no gradient of what is wanted."""
        if self._refusal:
            raise CheckError(self._refusal)

    def _backward_by_autograd(self, record: Record) -> None:
        pairs = [(top, blob._diff.current(blob._shape)) for top, blob in zip(record.tops, self.tops, strict=True)
                 if top.requires_grad]  # fmt: skip
        if not pairs or not record.learning:
            self._put([None] * len(self.bottoms), [], [])
            return
        given = [diff for _, diff in pairs]
        if self.follower is not None:
            record.diff = given[0].clone() if self.tops[0]._diff.is_watched else given[0]
        for bottom, wanted in zip(self.bottoms, self.wanted, strict=True):
            if wanted and all(bottom._diff is not top._diff for top in self.tops):
                bottom._diff.release()
        found = iter(gradients([top for top, _ in pairs], record.learning, given))
        looked_at = [address(blob._diff.current(blob._shape)) for blob in self.tops if blob._diff.is_watched]
        of_bottoms = [next(found) if wanted else None for wanted in self.wanted]
        self._put([_apart(each, looked_at) for each in of_bottoms], record.learned, _own(list(found), given))

    def _backward_from_memory(self, read: Sequence[Tensor], made: Sequence[Tensor], in_place: bool = False) -> None:
        """As Caffe's loops go over what lies in the blobs now; `read`, `made`: what forward read and made."""
        bottoms, tops = _now(self.bottoms, read, self.rereads), _now(self.tops, made, self.rereads_tops)
        diffs = tuple(top._diff.current(top._shape).clone() for top in self.tops)
        learns = self.learning
        wanted, rule = tuple(self.wanted), self.passes[1]
        if rule is None:
            found = derivative(self.layer, bottoms, diffs, wanted, learns)
        else:
            before = tuple(each.detach() for each in read), tuple(each.detach() for each in made)
            found = list(rule(self.layer, Pass(bottoms, tops, *before, diffs, wanted, in_place)))
        self._put_found(found)

    def _put_found(self, found: Sequence[Tensor | None]) -> None:
        """Put the gradients of bottoms, then of learnable blobs, wanted or not."""
        dense = [None if each is None else each.detach().contiguous() for each in found]
        triples = zip(self.blobs, self.learning, dense[len(self.bottoms) :], strict=False)
        learned = [(blob, each) for blob, learns, each in triples if learns]
        own = [each if wants else None for each, wants in zip(dense, self.wanted, strict=False)]
        self._put(own, [blob for blob, _ in learned], [each for _, each in learned])

    def _put(self, of_bottoms: list[Tensor | None], learned: list[Blob], of_blobs: list[Tensor | None]) -> None:
        """Write the gradients of bottoms, zeros where one is wanted and there is none; add those of learnable blobs."""
        for bottom, wanted, gradient in zip(self.bottoms, self.wanted, of_bottoms, strict=False):
            if wanted and gradient is None:
                bottom._diff.clear()
            elif gradient is not None:
                bottom._diff.write(gradient)
        self.clear_overwritten()
        if self.follower is not None:
            self.follower.clear_overwritten()
        for blob, gradient in zip(learned, of_blobs, strict=True):
            if gradient is not None:
                blob._diff.add(gradient)

    def clear_overwritten(self) -> None:
        """Clear the diff of the learnable blob that Caffe writes where others add to it."""
        if self.overwrites_gradient():
            self.blobs[0]._diff.clear()

    def overwrites_gradient(self) -> bool:
        """Whether there is such a blob, for bottoms of the shapes of now."""
        layer = self.layer
        return isinstance(layer, Scale) and any(self.learning[:1]) and layer.overwrites_gradient(self.bottoms[0]._shape)

    def _store(self, bottoms: Sequence[Tensor], tops: Sequence[Tensor]) -> list[int]:
        """Make `tops` the data of the top blobs; where they lie."""
        taken = set() if self.type in _FRESH else {address(value) for value in (*bottoms, *self.parameters)}
        stored = []
        for blob, top in zip(self.tops, tops, strict=True):
            values = top.detach() if top.requires_grad else top
            if values.dtype != torch.float32:
                values = values.float()
            values = dense(values)
            if self.type not in _FRESH:
                if address(values) in taken and not any(blob._data is bottom._data for bottom in self.bottoms):
                    values = values.clone()
                taken.add(address(values))
            blob._data.write(values)
            stored.append(values.data_ptr())
        return stored


def _now(blobs: Sequence[Blob], before: Sequence[Tensor], reread: Sequence[int]) -> tuple[Tensor, ...]:
    """Copies of what lies in the blobs that are read again, and of what lay in the others."""
    found = []
    for index, (blob, value) in enumerate(zip(blobs, before, strict=True)):
        there = (blob._read() if index in reread else value).detach()
        if there.numel() != value.numel():  # a layer in place made the blob smaller: the rest lies where it was
            there = torch.cat([there.flatten(), value.detach().flatten()[there.numel() :]])
        found.append(there.reshape(value.shape).clone())
    return tuple(found)


def address(values: Tensor) -> int:
    """Where the memory begins that a tensor shows, or shows a part of."""
    return values.untyped_storage().data_ptr()


def dense(values: Tensor) -> Tensor:
    """The values in memory without gaps, in one of the two orders that layers use."""
    return values if _is_dense(values) else values.contiguous()


def _is_dense(values: Tensor) -> bool:
    return values.is_contiguous() or (values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last))


def _apart(gradient: Tensor | None, taken: Container[int]) -> Tensor | None:
    """The gradient of a bottom, in no memory of `taken`; nobody writes on it, so other bottoms may share it."""
    if gradient is None or not (taken and address(gradient) in taken):
        return gradient
    return gradient.clone(memory_format=torch.contiguous_format)


def _own(gradients: Sequence[Tensor | None], given: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients, each in dense memory of its own."""
    taken = {address(diff) for diff in given}
    owned: list[Tensor | None] = []
    for gradient in gradients:
        if gradient is not None:
            gradient = dense(gradient)
            gradient = gradient.clone() if address(gradient) in taken else gradient
            taken.add(address(gradient))
        owned.append(gradient)
    return owned
