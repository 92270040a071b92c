"""Whole passes that nobody watches are those of cc.Net; what lies in between is made when a script asks for it.

A pass from the first layer to the last keeps every blob, data and diff. Where nobody has looked between inputs and
outputs since the last one, and no view of them is left, the next pass is that of the net's own program, which gives
memory back as it goes. Should a script look after all, the pass is run again layer by layer, from the inputs, the
random numbers and the weights that it had, and from then on passes keep everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caffe_compat.layers.draws import drawing_from
from caffe_compat.net.joining import JoinedLayers
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.memory import CLOCK, Content, Look, Memory
from caffe_compat.pycaffe.mode import random_source, random_state, restore_random
from caffe_compat.pycaffe.record import gradients
from caffe_compat.pycaffe.repeating import draws, repeats
from caffe_compat.pycaffe.sources import SourceStep
from caffe_compat.pycaffe.steps import address, dense

if TYPE_CHECKING:
    from caffe_compat.pycaffe.execution import Execution

_CHANCES = 3  # between so many passes a script may look inside before all of them keep everything


@dataclass
class Pass:
    """What a pass started from, and what it has left.

    given: the memories of the inputs, and what they held. learning: the inputs whose diffs are wanted. outputs: the
    blobs, their values with history, and without. random: what was to be drawn. previous: the pass that has left the
    diffs of now, until this one has run backwards: then `seeds` has the diffs of the outputs that it started from.
    weights: copies of all learnable blobs, once those of the net may be others.
    """

    given: list[tuple[Memory, Tensor]]
    learning: list[tuple[Blob, Tensor]]
    random: Any
    previous: Pass | None
    outputs: list[tuple[Blob, Tensor, Tensor]]
    seeds: list[tuple[Memory, Tensor]] | None = None
    weights: list[Tensor] | None = None


class Looks(Look):
    """What the blobs of a net tell of: looks since the last pass, and to whom, while a pass has left blobs out."""

    def __init__(self) -> None:
        self.seen: dict[int, Memory] = {}
        self.pending: Quiet | None = None  # which keeps the net, that else may go while blobs stay

    def at(self, memory: Memory) -> None:
        self.seen[id(memory)] = memory
        if self.pending is not None:
            self.pending.show(memory)

    def settle(self) -> None:
        if self.pending is not None:
            self.pending.settle()


class Places:
    """The memories of a net by what whole passes do with them.

    inner_data, inner_diffs: left out by those that nobody watches. outer: always there. weights: of learnable blobs.
    learning: the inputs that get a diff. backed: the outputs that backward starts from, by id.
    """

    def __init__(self, execution: Execution) -> None:
        tops = [top for step in execution.steps if isinstance(step, SourceStep) for top in step.tops]
        bottoms = [
            bottom
            for step in execution.steps
            if step.need.layer
            for bottom, written in zip(step.bottoms, step.wanted, strict=True)
            if written
        ]
        self.learning = [top for top in tops if any(top is bottom for bottom in bottoms)]
        self.weights = {id(memory): memory for memory, _ in execution._memories.values()}
        outputs = [execution.blobs[number] for number in execution.outputs]
        outer = [memory for blob in (*tops, *outputs) for memory in (blob._data, blob._diff)]
        self.outer = {id(memory) for memory in outer} | {id(diff) for _, diff in execution._memories.values()}
        made = [top for step in execution.steps if not isinstance(step, SourceStep) for top in step.tops]
        self.inner_data = self._inner([top._data for top in made])
        self.inner_diffs = self._inner([bottom._diff for bottom in bottoms])
        self.backed = {id(top) for step in execution.steps if step.need.layer for top in step.tops}

    def _inner(self, memories: list[Memory]) -> dict[int, Memory]:
        return {id(memory): memory for memory in memories if id(memory) not in self.outer}


class Quiet:
    """The whole passes of an Execution that nobody watches.

    keeps_weights: whether whoever changes the weights says so, as a solver does. has_read: whether the last `forward`
    has declined only after it had asked the data layers.
    """

    def __init__(self, execution: Execution, looks: Looks, joined: JoinedLayers) -> None:
        self._execution, self._looks, self._joined = execution, looks, joined
        self._made = [step for step in execution.steps if not isinstance(step, SourceStep)]
        self._sources = [step for step in execution.steps if isinstance(step, SourceStep)]
        outputs = [execution.blobs[number] for number in execution.outputs]
        self._chances = _CHANCES * repeats(execution.net, execution.steps, outputs)
        self._draws = draws(self._made)
        self._scales = [step for step in self._made if step.type == "Scale" and step.need.layer]
        self._learns = any(step.need.layer for step in execution.steps)
        self._shapes: list[tuple[int, ...]] | None = None  # of the inputs of the last pass that kept everything
        self._pass: Pass | None = None
        self.keeps_weights = self.has_read = False

    def forward(self) -> float | None:
        """Run all layers; the loss, weighted. None where everything is to be kept, by whoever called this."""
        self.has_read = False
        if not self._is_allowed():
            self._decline()
            return None
        with torch.no_grad(), drawing_from(random_source()):
            for source in self._sources:
                source.forward()
        if self._input_shapes() != self._shapes:
            self.has_read = True
            self._decline()
            return None
        last, self._pass, self._looks.pending = self._pass, None, None
        before = last if last is None or last.seeds is not None else last.previous
        self._pass, self._looks.pending = self._forward(before), self
        return sum(step.loss() for step in self._made)

    def backward(self) -> bool:
        """Run all layers backwards; False where everything is to be kept, by whoever called this."""
        found = self._pass
        if found is None or found.seeds is not None or found.weights is not None or self._is_overwritten(found):
            self.settle()
            return False
        starts = [(blob, value) for blob, value, _ in found.outputs if self._starts(blob, value)]
        found.seeds = [(blob._diff, _own(blob)) for blob, _ in starts]
        learned = [pair for pair in self._execution.learnable if pair[0].requires_grad]
        learning = [value for _, value in found.learning] + [parameter for parameter, _ in learned]
        seeds = [seed.clone() for _, seed in found.seeds]  # a ReLU may write on them
        none: tuple[Tensor | None, ...] = (None,) * len(learning)
        got = gradients([value for _, value in starts], learning, seeds, keep=False) if starts and learning else none
        found.previous, found.outputs = None, [(blob, value, value) for blob, _, value in found.outputs]
        for memory in self._places.inner_diffs.values():
            memory.drop()
        for (blob, _), gradient in zip(found.learning, got, strict=False):
            blob._diff.clear() if gradient is None else blob._diff.write(dense(gradient))
        for step in self._scales:
            step.clear_overwritten()
        taken = {address(seed) for seed in seeds}
        for (_, diff), gradient in zip(learned, got[len(found.learning) :], strict=True):
            if gradient is not None:
                gradient = dense(gradient)
                diff.add(gradient.clone() if address(gradient) in taken else gradient)
        return True

    def show(self, memory: Memory) -> None:
        """Make what a script is about to see, where the last pass has left it out."""
        if id(memory) in self._places.weights:
            self.keep_weights()
        elif id(memory) not in self._places.outer:
            self.settle()

    def keep_weights(self) -> None:
        """Copy the learnable blobs, which may change now, for the pass that may have to be run again."""
        found = self._pass
        for each in (found, found.previous if found is not None else None):
            if each is not None and each.weights is None:
                each.weights = [parameter.detach().clone() for parameter, _ in self._execution.learnable]

    def settle(self) -> None:
        """Put into the blobs what passes have left out; from now on they keep everything."""
        found, self._pass, self._looks.pending = self._pass, None, None
        if found is not None:
            self._chances = 0
            if found.previous is not None:
                self._run_again(found.previous)
            self._run_again(found)

    def _is_allowed(self) -> bool:
        """Whether nobody has looked inside since the last pass, and nothing and nobody can see that this one does not.

        What a script looks at before the first pass does not count, diffs apart that passes read and do not write.
        """
        execution, looks = self._execution, self._looks
        watched = execution.explains or any(execution.hooks.values())
        if not self._chances or watched or not (self.keeps_weights or self._has_own_weights()):
            return False
        if self._pass is None:
            self._places = Places(execution)
        seen, looks.seen = looks.seen, {}
        places = self._places
        inside = [key for key in seen if key not in places.outer and key not in places.weights]
        if any(key not in places.inner_data and key not in places.inner_diffs for key in inside):
            self._chances = 0
        elif self._shapes is not None and inside:
            self._chances -= 1
        inner = (*places.inner_data.values(), *places.inner_diffs.values())
        shapes = self._input_shapes()
        is_other = shapes != self._shapes or any(0 in shape for shape in shapes)
        return bool(self._chances) and not inside and not is_other and not any(memory.is_seen for memory in inner)

    def _has_own_weights(self) -> bool:
        """Whether no script and no other net can change the weights unnoticed."""
        memories = [memory for memory, _ in self._execution._memories.values()]
        return not any(memory.is_seen or memory.is_lent for memory in memories)

    def _decline(self) -> None:
        """Before a pass that keeps everything: put into the diffs what the last one has left out."""
        found = self._pass
        if found is not None and (found.seeds is not None or found.previous is not None):
            self.settle()
        self._pass = self._looks.pending = None
        self._shapes = self._input_shapes()

    def _input_shapes(self) -> list[tuple[int, ...]]:
        return [top._shape for source in self._sources for top in source.tops]

    def _forward(self, before: Pass | None) -> Pass:
        execution = self._execution
        random = random_state() if self._draws else None
        inputs = [top for source in self._sources for top in source.tops]
        given = [(top._data, top._read()) for top in inputs]
        for memory in self._places.inner_data.values():
            memory.drop()
        for step in self._made:
            step.forget()
        values = {}
        for source in self._sources:
            for top, blob in zip(source.node.tops, source.tops, strict=True):
                wanted = self._learns and any(blob is each for each in self._places.learning)
                values[top.name] = blob._read().detach().requires_grad_(wanted)
        with torch.set_grad_enabled(self._learns), drawing_from(random_source()), self._joined:
            found, _ = execution.net.forward_with_loss(**values)
        learning = [(blob, value) for blob, value in zip(inputs, values.values(), strict=True) if value.requires_grad]
        taken = {address(value) for _, value in given}
        outputs = []
        for number in execution.outputs:
            blob, value = execution.blobs[number], found[execution.blob_names[number]]
            if not any(blob is each for each in inputs):
                bare = dense(value.detach())
                bare = bare.clone() if address(bare) in taken else bare
                blob._data.write(bare)
                outputs.append((blob, value, bare))
        return Pass(given, learning, random, before, outputs)

    def _is_overwritten(self, found: Pass) -> bool:
        """Whether a script has changed what the pass was given, or has given."""
        pairs = [*found.given, *((blob._data, value) for blob, _, value in found.outputs)]
        return any(memory.read(tuple(value.shape)) is not value for memory, value in pairs)

    def _starts(self, blob: Blob, value: Tensor) -> bool:
        """Whether backward starts from an output."""
        return value.requires_grad and id(blob) in self._places.backed

    def _run_again(self, found: Pass) -> None:
        """The pass, layer by layer on the blobs; all that was always there stays as it is now."""
        execution, places = self._execution, self._places
        kept = [diff for _, diff in execution._memories.values()] + [blob._diff for blob in places.learning]
        kept += [memory for blob, _, _ in found.outputs for memory in (blob._diff, blob._data)]
        contents: list[tuple[Memory, Content]] = [
            (memory, memory.exchange((None, None, None))) for memory in {id(each): each for each in kept}.values()
        ]
        contents += [(memory, memory.exchange((None, value, None))) for memory, value in found.given]
        state, parameters = random_state(), [parameter for parameter, _ in execution.learnable]
        weights = [parameter.detach().clone() for parameter in parameters]
        _put(parameters, found.weights or [])
        if found.random is not None:
            restore_random(found.random)
        CLOCK.tick()
        with torch.no_grad(), drawing_from(random_source()):
            for step in self._made:
                step.forward()
            if found.seeds is not None:
                for memory, seed in found.seeds:
                    memory.write(seed)
                for step in reversed(self._made):
                    step.backward()
        _put(parameters, weights)
        restore_random(state)
        for memory, content in reversed(contents):  # an output may lie in the memory of an input
            memory.exchange(content)
        CLOCK.tick()


def _own(blob: Blob) -> Tensor:
    """The diff of a blob, in memory that no script writes into."""
    diff = blob._diff.current(blob._shape)
    return diff.clone() if blob._diff.is_watched else diff


def _put(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Write `values`, unless there are none; not as an update, which autograd would count."""
    for parameter, value in zip(parameters, values, strict=bool(values)):
        parameter.data.copy_(value)
