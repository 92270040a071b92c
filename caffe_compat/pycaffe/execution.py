"""A cc.Net run layer by layer on blobs: what all `Net` objects of one net share (net.cpp)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.graph import Node
from caffe_compat.graph.hazards import Hazard
from caffe_compat.graph.wiring import AUTOMATIC
from caffe_compat.layers.base import Layer
from caffe_compat.layers.draws import drawing_from
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.joining import JoinedLayers
from caffe_compat.net.needs import Need, backward_needs
from caffe_compat.net.net import Net
from caffe_compat.pycaffe import layer as layers
from caffe_compat.pycaffe.bindings import check
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.checks import in_caffes_words
from caffe_compat.pycaffe.kinds import step_kind
from caffe_compat.pycaffe.logs import lines
from caffe_compat.pycaffe.memory import CLOCK, Memory, ParameterMemory
from caffe_compat.pycaffe.mode import check_mode, random_source
from caffe_compat.pycaffe.needs import check_layers
from caffe_compat.pycaffe.overwriting import OverwritingStep
from caffe_compat.pycaffe.python_layer import LivePythonLayer, UserStep
from caffe_compat.pycaffe.quiet import Looks, Quiet
from caffe_compat.pycaffe.sources import KINDS, SourceStep
from caffe_compat.pycaffe.steps import Step
from caffe_compat.solver.debug import tell_backward, tell_forward

HOOKS = ("before_forward", "after_forward", "before_backward", "after_backward")


class Execution:
    """The blobs, in the order in which Caffe numbers them, and the steps of a net.

    learnable: (nn.Parameter, its diff) of every learnable blob, once, in the order of a solver. hooks: the callbacks of
    a net, by name, called with the number of the layer. explains: whether each pass logs the sizes of blobs and diffs.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.blob_names: list[str] = []
        self.blobs: list[Blob] = []
        self.hooks: dict[str, list[Callable[[int], Any]]] = {name: [] for name in HOOKS}
        self.explains: bool = net.param.debug_info
        self._places: dict[Any, int] = {}
        self._looks = Looks()
        check_layers(net.graph.nodes, net._sequence)
        needs = backward_needs(net.graph.nodes, net._sequence, net.param.force_backward)
        self.bottom_ids: list[list[int]] = []
        self.top_ids: list[list[int]] = []
        with torch.no_grad(), drawing_from(random_source()):
            rows = enumerate(zip(net.graph.nodes, net._sequence, needs, strict=True))
            self.steps = [self._step(*each, net.hazards.by_number.get(number)) for number, each in rows]
        self._memories: dict[int, tuple[ParameterMemory, Memory]] = {}
        self._has_python = any(isinstance(step, UserStep) for step in self.steps)
        for step in self.steps:
            self._add_blobs(step)
        self.learnable = [(param.tensor, self._memories[id(param.tensor)][1]) for param in net.learnable_params]
        for blob in (*self.blobs, *(blob for step in self.steps for blob in step.blobs)):
            blob._told = self._looks
        self.layers = [
            step.layer.user if isinstance(step.layer, LivePythonLayer) else layers.view_of(step.node.param, step.blobs)
            for step in self.steps
        ]
        self.outputs = [self._places[name] for name in net.graph.outputs]
        joined = JoinedLayers(net)
        self.quiet = Quiet(self, self._looks, joined)
        self._pairs = self._in_place_pairs(joined)
        for relu in joined.rectifiers:
            vars(relu)["inplace"] = True
        self.inputs = [
            place for step, ids in zip(self.steps, self.top_ids, strict=True) if step.type == "Input" for place in ids
        ]
        self.loss_weights = [0.0] * len(self.blobs)
        for step, ids in zip(self.steps, self.top_ids, strict=True):
            for place, weight in zip(ids, step.loss_weights, strict=True):
                self.loss_weights[place] = weight

    def forward(self, start: int, end: int) -> float:
        """Run layers `start` to `end`, both included; the sum of the losses on the way, weighted."""
        check(start >= 0, f"start >= 0 ({start} vs. 0)")
        check(0 <= end < len(self.steps), f"end < layers_.size() ({end} vs. {len(self.steps)})")
        check_mode()
        loss, has_read = 0.0, False
        CLOCK.tick()
        if start > 0 or end < len(self.steps) - 1:
            self.quiet.settle()
        else:
            self._lay_out()
            try:
                found = self.quiet.forward()
            except CaffeCompatError as error:
                raise in_caffes_words(error) from error
            if found is not None:
                CLOCK.tick()
                return found
            has_read = self.quiet.has_read
        with torch.no_grad(), drawing_from(random_source()):
            for number in range(start, end + 1):
                self._call("before_forward", number)
                step = self.steps[number]
                if has_read and isinstance(step, SourceStep):
                    continue
                try:
                    step.forward()
                except CaffeCompatError as error:
                    raise in_caffes_words(error, step.node.param) from error
                step.refuse_empty("forward")
                loss += step.loss()
                if self.explains:
                    self._explain_forward(number)
                self._call("after_forward", number)
        CLOCK.tick()
        return loss

    def backward(self, start: int, end: int) -> None:
        """Run the backward passes of layers `start` down to `end`, both included, where the net needs them."""
        check(end >= 0, f"end >= 0 ({end} vs. 0)")
        check(0 <= start < len(self.steps), f"start < layers_.size() ({start} vs. {len(self.steps)})")
        check_mode()
        CLOCK.tick()
        if start < len(self.steps) - 1 or end > 0:
            self.quiet.settle()
        elif self.quiet.backward():
            CLOCK.tick()
            return
        for first, second in self._pairs:
            first.separate(second)
        with torch.no_grad(), drawing_from(random_source()):
            for number in range(start, end - 1, -1):
                self._call("before_backward", number)
                if self.steps[number].need.layer:
                    self.steps[number].refuse_empty("backward")
                self.steps[number].backward()
                if self.explains and self.steps[number].need.layer:
                    self._explain_backward(number)
                self._call("after_backward", number)
        CLOCK.tick()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Within this block BatchNorms compute the Scales in place behind them too: nobody sees what lies between.

        Nothing is joined where a callback or the log could see it.
        """
        pairs = [] if self.explains or any(self.hooks.values()) else self._pairs
        for first, second in pairs:
            vars(first.layer)["scales"], vars(second.layer)["is_done"] = (second.layer,), True
            first.follower, second.is_done = second, True
        try:
            yield
        finally:
            for first, second in pairs:
                vars(first.layer)["scales"], vars(second.layer)["is_done"] = (), False
                first.follower = None

    def _lay_out(self) -> None:
        """Have the weights lie again as layers want them, where no script holds a view of them."""
        if not self._has_python:
            for memory, _ in self._memories.values():
                memory.lay_out()

    def _in_place_pairs(self, joined: JoinedLayers) -> list[tuple[Step, Step]]:
        """Each BatchNorm and the Scale in place behind it, where both are run as the net's own program joins them."""
        steps = {id(step.layer): step for step in self.steps}
        pairs = [(steps[id(first)], steps[id(second)]) for first, second in joined.pairs]
        return [pair for pair in pairs if pair[1].tops[0] is pair[1].bottoms[0]]

    def reshape(self) -> None:
        """Give every blob the shape that follows from the inputs."""
        for step in self.steps:
            step.reshape()

    def clear_param_diffs(self) -> None:
        for _, diff in self.learnable:
            diff.clear()

    def learnable_diffs(self, chosen: Iterable[int]) -> list[Tensor]:
        """The diffs of the learnable blobs with these numbers, in the order of a solver, on their very memory."""
        pairs = [self.learnable[index] for index in chosen]
        return [diff.current(tuple(parameter.shape)) for parameter, diff in pairs]

    def share_with(self, other: Execution) -> None:
        """Have the learnable blobs on the memory of those of `other`, by layer name (ShareTrainedLayersWith)."""
        self.quiet.keep_weights()
        mine: dict[str, Step] = {}
        for step in self.steps:
            mine.setdefault(step.name, step)
        pairs = [(mine[source.name], source) for source in other.steps if source.name in mine]
        self._part_from([target for target, _ in pairs])
        for target, source in pairs:
            check(len(target.blobs) == len(source.blobs), "target_blobs.size() == source_layer->blobs().size()",
                  f"Incompatible number of blobs for layer {source.name}")  # fmt: skip
            for index, (ours, theirs) in enumerate(zip(target.blobs, source.blobs, strict=True)):
                check(ours._shape == theirs._shape, "target_blobs[j]->shape() == source_blob->shape()",
                      f"Cannot share param {index} weights from layer '{source.name}'; shape mismatch.  Source param "
                      f"shape is {theirs._string()}; target param shape is {ours._string()}")  # fmt: skip
                if ours._data is not theirs._data:
                    ours._data.give(target.parameters[index], theirs._data)
                    ours._data = theirs._data
                    self._memories[id(target.parameters[index])] = theirs._data, ours._diff

    def _part_from(self, targets: list[Step]) -> None:
        """Let layers that share a blob with `targets`, and are none of them, have its memory as their own from now on.

        A layer that only a test net has stays with the weights that it was given (Net::ShareTrainedLayersWith).
        """
        moving = {id(blob._data) for target in targets for blob in target.blobs}
        own: dict[int, nn.Parameter] = {}
        for step in self.steps:
            for index, blob in enumerate(step.blobs if step not in targets else ()):
                memory = blob._data
                if id(memory) in moving:
                    parameter = own[id(memory)] if id(memory) in own else memory.take_over()
                    own[id(memory)] = step.parameters[index] = step.layer.blobs[index] = parameter
                    self._memories[id(parameter)] = memory, blob._diff
                    vars(step).pop("learns", None)

    def _explain_forward(self, number: int) -> None:
        pairs = [(self.blob_names[place], self.blobs[place]) for place in self.top_ids[number]]
        with lines():
            tell_forward(self.steps[number].layer, [(name, top._data.peek(top._shape)) for name, top in pairs])

    def _explain_backward(self, number: int) -> None:
        step = self.steps[number]
        bottoms = [
            (self.blob_names[place], bottom._diff.current(bottom._shape))
            for place, bottom, wanted in zip(self.bottom_ids[number], step.bottoms, step.need.bottoms, strict=True)
            if wanted
        ]
        with lines():
            diffs = [blob._diff.current(blob._shape) for blob in step.blobs]
            tell_backward(step.layer, bottoms, diffs, self.net.param.force_backward)

    def _call(self, hook: str, number: int) -> None:
        called = self.hooks[hook]
        for call in called:
            call(number)
        if called:
            CLOCK.tick()

    def _step(self, node: Node, layer: Layer, need: Need, hazard: Hazard | None) -> Step:
        bottoms = [self._places[bottom.name] for bottom in node.bottoms]
        self.bottom_ids.append(bottoms)
        self.top_ids.append([self._top(node, layer, index) for index in range(len(node.tops))])
        blobs = [self.blobs[place] for place in bottoms], [self.blobs[place] for place in self.top_ids[-1]]
        if isinstance(layer, LivePythonLayer):
            return UserStep(node, layer, *blobs, need)
        for top, blob in zip(node.tops, blobs[1], strict=True):
            blob._resize(self.net._shapes[top])  # of a layer in place that changes the shape
        if isinstance(layer, SourceLayer):
            kind = next((kind for cls, kind in KINDS.items() if isinstance(layer, cls)), SourceStep)
            return kind(node, layer, *blobs, need)
        if hazard is not None:
            return OverwritingStep(node, layer, *blobs, need, hazard)
        return step_kind(node)(node, layer, *blobs, need)

    def _top(self, node: Node, layer: Layer, index: int) -> int:
        """The number of a top's blob: a new one, unless it is that of the bottom."""
        top = node.tops[index]
        if top.version and top.name != AUTOMATIC:
            return self._places[top.name]
        self.blobs.append(layer.top[index] if isinstance(layer, LivePythonLayer) else Blob(self.net._shapes[top]))
        self.blob_names.append(top.name)
        if top.name != AUTOMATIC:
            self._places[top.name] = len(self.blobs) - 1
        return len(self.blobs) - 1

    def _add_blobs(self, step: Step) -> None:
        """Make the learnable blobs of a step; those of one nn.Parameter share data and diff."""
        for index, parameter in enumerate(step.layer.blobs):
            blob = self._blob_of(step, index, parameter)
            assert isinstance(blob._data, ParameterMemory)  # for the type checker: LivePythonLayer makes them so too
            data, diff = self._memories.setdefault(id(parameter), (blob._data, blob._diff))
            blob._data, blob._diff = data, diff
            if not isinstance(step, UserStep):
                step.blobs.append(blob)

    def _blob_of(self, step: Step, index: int, parameter: nn.Parameter) -> Blob:
        if isinstance(step, UserStep):
            own: Blob = step.blobs[index]
            return own
        blob = Blob(step.layer.blob_shapes[index])
        blob._data = ParameterMemory(parameter)
        return blob
