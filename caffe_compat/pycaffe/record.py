"""A forward pass of a step with its autograd graph, and whether that still says what Caffe's memory says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caffe_compat.pycaffe.mode import CAFFE_TYPES

if TYPE_CHECKING:
    from caffe_compat.pycaffe.steps import Step

# Types of which `backward_reads` says everything; of others, what autograd has saved of bottoms follows the blobs
_RECURRENT = frozenset({"LSTM", "RNN"})
_KNOWN = frozenset(CAFFE_TYPES) - {*_RECURRENT, "Python"}


class Record:
    """A forward pass with its autograd graph, on what the blobs of a step hold now.

    given: what the bottoms held, where that is no longer there. bottoms, tops: the tensors. stored: where the tops lie
    in the blobs. learning: the tensors of the bottoms and learnable blobs that get a gradient; learned: the learnable
    blobs among these. diff: that of the top in the last backward pass, where two layers are computed at once.
    """

    def __init__(self, step: Step, given: tuple[Tensor, ...] = ()) -> None:
        self.step = step
        self.diff: Tensor | None = None
        values = given or [bottom._read() for bottom in step.bottoms]
        self.bottoms = tuple([
            value.detach().requires_grad_() if wanted else value.detach()
            for value, wanted in zip(values, step.wanted, strict=True)
        ])  # fmt: skip
        with torch.enable_grad():
            self.tops = as_tuple(step.layer(*self.bottoms))
        self.stored = [top.data_ptr() for top in self.tops]
        learns = step.learns if step.follower is None else step.learns + step.follower.learns
        learns = list({id(parameter): (parameter, blob) for parameter, blob in learns}.values())  # a layer may share
        self.learned = [blob for _, blob in learns]
        self.learning = [bottom for bottom in self.bottoms if bottom.requires_grad]
        self.learning += [parameter for parameter, _ in learns]
        self._read = [bottom.data_ptr() for bottom in self.bottoms]
        self._parameters = [parameter.data_ptr() for parameter in step.parameters] if step.rereads else []
        self._blobs = step.bottoms + step.tops
        self._edits = [] if step.type in _KNOWN else [blob._data.edits for blob in self._blobs]
        self._shapes = [blob._shape for blob in self._blobs]
        self._weights = _read_again(step) + (_read_again(step.follower) if step.follower is not None else [])
        self._versions = [each._version for each in self._weights]

    def has_other_weights(self) -> bool:
        """Whether an update has changed learnable blobs since; autograd refuses its graph then."""
        return [each._version for each in self._weights] != self._versions

    def has_other_shapes(self) -> bool:
        """Whether a blob was reshaped since."""
        return [blob._shape for blob in self._blobs] != self._shapes

    def is_overwritten(self) -> bool:
        """Whether the blobs hold other values than autograd has saved, of those that Caffe reads for gradients.

        The layer's own values in place count as those that they overwrote: only signs are read then (`find_hazards`).
        """
        step = self.step
        if step.type not in _KNOWN:
            self._follow()
            return False
        gives_probabilities = step.type == "InfogainLoss" and len(step.tops) > 1
        if gives_probabilities and step.tops[1]._read().data_ptr() != self.stored[1]:
            self.tops[1].data.copy_(step.tops[1]._read())  # autograd has saved them, and Caffe reads them again
        for index in step.rereads:
            now = step.bottoms[index]._read().data_ptr()
            if now != self._read[index] and now not in self.stored:
                return True
        if any(step.tops[index]._read().data_ptr() != self.stored[index] for index in step.rereads_tops):
            return True
        return bool(self._parameters) and [each.data_ptr() for each in step.parameters] != self._parameters

    def _follow(self) -> None:
        """Take what a script has written into the blobs over into the very tensors that autograd has saved.

        Recurrent layers read their bottoms again whoever wrote them: they are those of a net inside the layer.
        """
        others = self.bottoms if self.step.type in _RECURRENT else ()
        for index, (blob, saved) in enumerate(zip(self._blobs, (*self.bottoms, *self.tops), strict=True)):
            now = blob._read()
            moved = index < len(others) and now.data_ptr() != saved.data_ptr()
            if moved or blob._data.edits != self._edits[index]:
                saved.data.copy_(now)
                self._edits[index] = blob._data.edits


def _read_again(step: Step) -> list[Tensor]:
    """The learnable blobs that backward reads; not statistics, of which forward has made what it needs."""
    fixed = step.layer.fixed_blobs
    return [parameter for index, parameter in enumerate(step.parameters) if index not in fixed]


def as_tuple(tops: Any) -> tuple[Tensor, ...]:
    if tops is None:
        return ()
    return tops if isinstance(tops, tuple) else tuple(tops) if isinstance(tops, list) else (tops,)


def gradients(
    tops: list[Tensor], learning: list[Tensor], diffs: list[Tensor], keep: bool = True
) -> tuple[Tensor | None, ...]:
    """torch.autograd.grad(tops, learning, diffs) without its checks of shapes; keep: the graph, for another time.

    Those take as long as the backward pass of a small layer, and the diffs have the shapes of the tops.
    """
    found: tuple[Tensor | None, ...] = torch.autograd.Variable._execution_engine.run_backward(
        tuple(tops), tuple(diffs), keep, False, tuple(learning), allow_unreachable=True, accumulate_grad=False
    )
    return found
