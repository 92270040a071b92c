"""Net: a Caffe model as an nn.Module; inputs, outputs and blobs by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, fx, nn

from caffe_compat.errors import GraphError
from caffe_compat.graph.graph import Graph, Node, build_graph
from caffe_compat.graph.splits import copies_unnamed
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.layers.source import SourceLayer, as_numbers, value_type
from caffe_compat.net.build import Program, let_relus_overwrite, partial_outputs
from caffe_compat.net.copying import reduced
from caffe_compat.net.in_place import IN_PLACE, chosen_in_place, defined_hazards
from caffe_compat.net.memory import keep_freed_memory
from caffe_compat.net.missing import warn_of_missing
from caffe_compat.net.naming import layers_by_name
from caffe_compat.net.needs import unheeded
from caffe_compat.net.params import LearnableParam, learnable_params, rebound, share_again
from caffe_compat.net.prepared import PreparedNet
from caffe_compat.net.shapes import infer_shapes, set_up_layers
from caffe_compat.net.table import LayerFacts, batch_size, layer_facts, net_html, table
from caffe_compat.net.weights import LoadReport, arrays_of, copy_weights, share_blobs, written_net
from caffe_compat.proto import dialects
from caffe_compat.proto.model import Model, ModelLike, as_model, weights_in
from caffe_compat.proto.schema import NetParameter
from caffe_compat.showing import nearest

COMPAT = ("bvlc", "wen2017", "scnn")


class Net(nn.Module):
    """What one phase, level and set of stages of a Caffe model computes.

    model: a Model or what stands for one (see `as_model`), whose weights are loaded (a warning names the layers
    without any), or a NetParameter. phase: "TRAIN"
    or "TEST". compat: "bvlc" (Caffe 1.0), "wen2017" (the paper's fork) or "scnn" (its branch for structured sparsity).
    input_shapes: {blob: shape} in place of the shapes that inputs and data layers declare. folder: where files that the
    net names are sought if the working directory lacks them. in_place: "caffe" (the default, see `default_in_place`)
    for what Caffe computes where in-place layers overwrite what others still read (`hazards`), "right" for what the
    prototxt says; GraphError where Caffe's has no defined value.

    graph: the resolved layers. graph_module: the PyTorch program they became. layers: by name; of several of one name
    that with blobs, else the first (`steps` has all). learnable_params: what a solver updates, in Caffe's order.
    input_names: what `forward` takes. output_names: what it gives, in Caffe's order. load_report: what became of the
    model's weights. pixels: what images go through before they are an input, where the model's comments tell.
    """

    _place: Tensor

    def __init__(
        self,
        model: ModelLike | NetParameter,
        phase: str = "TEST",
        level: int = 0,
        stages: Iterable[str] = (),
        compat: str = "bvlc",
        input_shapes: Mapping[str, Shape] | None = None,
        folder: Path | None = None,
        in_place: str | None = None,
    ) -> None:
        super().__init__()
        keep_freed_memory()
        in_place = in_place or chosen_in_place()
        if in_place not in IN_PLACE:
            raise GraphError(f"in_place is '{in_place}'; allowed: {', '.join(IN_PLACE)}")
        if compat not in COMPAT:
            raise GraphError(f"compat is '{compat}'; allowed: {', '.join(COMPAT)}")
        if not isinstance(model, NetParameter):
            model = as_model(model)
            folder = model.folder if folder is None else Path(folder)
        self.param, weights = (model.net, model.weights) if isinstance(model, Model) else (model, {})
        self.graph: Graph = build_graph(self.param, phase, level, stages, loss_types())
        given_shapes = dict(input_shapes or {})
        self._options: dict[str, Any] = {
            "compat": compat,
            "input_shapes": given_shapes,
            "folder": folder,
            "in_place": in_place,
        }
        self.compat, self.folder, self.in_place = compat, folder, in_place
        context = Context(phase=phase, compat=compat, folder=folder, fork=dialects.disputed(self.param))
        self._sequence, self._shapes = set_up_layers(self.graph, context, given_shapes, weights)
        self.hazards = defined_hazards(self.graph, in_place)
        let_relus_overwrite(self.graph, self._sequence, self.hazards.touched)
        self.layers: dict[str, Layer] = layers_by_name(self._sequence)
        self.learnable_params: list[LearnableParam] = learnable_params(self._sequence, self.param.force_backward)
        self.input_names = tuple(top.name for node, _ in self._sources() for top in node.tops)
        self.output_names = self.graph.outputs
        for name in given_shapes:
            self._check_input(name)
        self._checked_shapes = {
            top.name: self._shapes[top] for node, _ in self._sources() for top in node.tops if top in self._shapes
        }
        self._programs: dict[tuple[frozenset[str], bool], fx.GraphModule] = {}
        self.graph_module = self._program(frozenset(self.input_names), every_blob=False)
        self.register_buffer("_place", torch.zeros(()), persistent=False)  # follows .to() and .double()
        rebind = type(self)._rebind  # with assign=True there are new Parameters
        self.register_load_state_dict_post_hook(rebind)  # type: ignore[no-untyped-call]
        self.load_report = self.load_weights(weights)
        if isinstance(model, Model):
            warn_of_missing(self, model, self.load_report)
        self.pixels = dict(model.pixels) if isinstance(model, Model) else {}

    @property
    def params(self) -> dict[str, list[nn.Parameter]]:
        """The blobs of every layer that has any; a shared blob is the same Parameter in each of its layers."""
        return {name: list(layer.blobs) for name, layer in self.layers.items() if len(layer.blobs)}

    @property
    def steps(self) -> list[tuple[Node, Layer]]:
        """The nodes of the graph and their layers, in the order in which they run."""
        return list(zip(self.graph.nodes, self._sequence, strict=True))

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of every blob, of its last version, as built."""
        return {blob.name: shape for blob, shape in self._shapes.items()}

    @property
    def batch_size(self) -> int:
        """How many images it takes at once, as built: the first axis of its first input."""
        return batch_size(self.graph, self._shapes)

    def forward(self, only: Any = None, /, **inputs: Any) -> dict[str, Tensor]:
        """The outputs by name, for `inputs` by blob name: arrays or tensors, taken as floating point numbers.

        A net with one input takes it without a name too.

        What is not given comes from the data layers. A data layer of which only some tops are given is not asked, and
        layers that need what is missing do not run; the outputs are then the last blobs that could be computed.
        GraphError for an unknown name, ShapeError (naming the layer) for a shape that the net cannot take.
        """
        return self._run(self._named(only, inputs), every_blob=False)[0]

    def forward_with_loss(self, /, **inputs: Any) -> tuple[dict[str, Tensor], Tensor]:
        """The outputs, and the total loss: the sum over all tops of loss_weight * sum(top), a scalar (Net::Forward)."""
        return self._run(inputs, every_blob=False)

    def next_values(self) -> dict[str, Tensor]:
        """The next batch of every data layer, by blob name: what `forward` takes when it is given nothing."""
        return self._fed({})

    def blobs(self, only: Any = None, /, **inputs: Any) -> dict[str, Tensor]:
        """Every blob by name, as it lies in memory in the end; the inputs too. For inputs as `forward` takes them."""
        return self._run(self._named(only, inputs), every_blob=True)[0]

    def prepare(self, names: Iterable[str] | None = None, backend: str | None = None) -> PreparedNet:
        """This net, of phase TEST, as a function that gives what `forward` gives, or blobs of these names, faster.

        backend: "openvino" or "onnxruntime" for one that runs there, compared with this net in its first pass.
        GraphError for another phase, and for a blob that the net lacks; DataError for a backend that is not installed.
        """
        return PreparedNet(self, None if names is None else tuple(names), backend)

    def values_for(self, only: Any, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The values that a pass given these inputs starts from, by blob name; errors as of `forward`."""
        return self._fed(self._named(only, inputs))

    def program(self, given: frozenset[str], names: Iterable[str] | None = None) -> fx.GraphModule:
        """What computes (outputs, total loss or None) of these input blobs, taken in the order of `input_names`.

        names: the blobs that it gives in place of the outputs.
        """
        if names is None:
            return self._program(given, every_blob=False)
        return self._new_program(given).module(names)

    def load_weights(self, weights: Mapping[str, Any] | ModelLike) -> LoadReport:
        """Copy blobs in by layer name, as Caffe's CopyTrainedLayersFrom; WeightsError where a layer's do not fit.

        weights: blobs by layer name, the path of a file of weights, or what has or gives a Model.
        """
        return copy_weights(self.layers, weights_in(weights, self.param))

    def weights(self) -> dict[str, tuple[Any, ...]]:
        """Copies of all blobs by layer name, float32; shared ones in each of their layers, as in a caffemodel."""
        return {name: arrays_of(layer) for name, layer in self.layers.items() if len(layer.blobs)}

    def model(self) -> Model:
        """The instantiated layers, Splits included, and their blobs: what Caffe writes into a caffemodel.

        The net as it was given, for other phases and further rewriting, is `param`.
        """
        return Model(written_net(self.graph.name, self._sequence), self.weights())

    def given_model(self) -> Model:
        """The net as it was given, for all phases, with the weights of now."""
        return Model(self.param, self.weights(), pixels=self.pixels, folder=self.folder)

    def share_weights_with(self, other: Net) -> None:
        """Use the Parameters of the layers of the same names in `other` from now on (ShareTrainedLayersWith)."""
        share_blobs(self.layers, other.layers)
        self.learnable_params = rebound(self.learnable_params, self.layers)

    def __repr__(self) -> str:
        return table(self.graph, self._sequence, self._shapes)

    def layer_facts(self) -> list[LayerFacts]:
        """What print(net) shows, a row a layer."""
        return layer_facts(self.graph, self._sequence, self._shapes)

    def _repr_html_(self) -> str:
        return net_html(self.graph, self._sequence, self._shapes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as `net/copying.py` says."""
        return reduced(self, self._options, self._place)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """What .to() and its like do; a shared blob is one Parameter still, and learnable_params are the net's."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._rebind()
        return self

    def _rebind(self, *_: Any) -> None:
        share_again(self.learnable_params, self.layers)
        self.learnable_params = rebound(self.learnable_params, self.layers)

    def _sources(self) -> list[tuple[Any, SourceLayer]]:
        pairs = zip(self.graph.nodes, self._sequence, strict=True)
        return [(node, layer) for node, layer in pairs if isinstance(layer, SourceLayer)]

    def _run(self, inputs: Mapping[str, Any], every_blob: bool) -> tuple[dict[str, Tensor], Tensor]:
        values = self._fed(inputs)
        program = self._program(frozenset(values), every_blob)
        with copies_unnamed(node.param for node in self.graph.nodes):
            outputs, loss = program(*(values[name] for name in self.input_names if name in values))
        return outputs, torch.zeros_like(self._place) if loss is None else loss

    def _fed(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The value of every source top that is known: given, or from a data layer of which none was given."""
        for name in inputs:
            self._check_input(name)
        values = {name: as_numbers(value, name).to(self._place.device) for name, value in inputs.items()}
        values = {name: value.to(value_type(value.shape, self._place.dtype)) for name, value in values.items()}
        for node, layer in self._sources():
            names = [top.name for top in node.tops]
            if not layer.fed and not any(name in values for name in names):
                values.update(zip(names, layer.next_batch(), strict=True))
        if not values and self.input_names:
            raise GraphError(f"net '{self.graph.name}' was given no input; its inputs: {', '.join(self.input_names)}")
        self._check_shapes(values)
        return values

    def _named(self, only: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """`inputs`, with the one that was given without its name."""
        if only is None:
            return inputs
        if len(self.input_names) != 1:
            known = ", ".join(self.input_names) or "none"
            raise GraphError(f"net '{self.graph.name}': name what is given, as in net(data=x); its inputs: {known}")
        if inputs:
            raise GraphError(f"net '{self.graph.name}' has one input, '{self.input_names[0]}', which is given twice")
        return {self.input_names[0]: only}

    def _check_input(self, name: str) -> None:
        if name not in self.input_names:
            hint = nearest(name, self.input_names, "its inputs")
            raise GraphError(f"net '{self.graph.name}' has no input '{name}'; {hint}")

    def _check_shapes(self, values: Mapping[str, Tensor]) -> None:
        if torch.compiler.is_dynamo_compiling():  # which follows no messages, so that a whole graph could not be had
            return
        shapes = {name: tuple(value.shape) for name, value in values.items()}
        if shapes != self._checked_shapes:
            infer_shapes(self.graph, self._sequence, shapes)
            self._checked_shapes = shapes

    def _program(self, fed: frozenset[str], every_blob: bool) -> fx.GraphModule:
        if (fed, every_blob) not in self._programs:
            program = self._new_program(fed)
            outputs: Iterable[str] = partial_outputs(self.graph, program.values)
            if every_blob:
                outputs = dict.fromkeys(blob.name for blob in program.values)
            elif len(fed) == len(self.input_names):
                outputs = self.output_names
            self._programs[fed, every_blob] = program.module(outputs)
        return self._programs[fed, every_blob]

    def _new_program(self, fed: frozenset[str]) -> Program:
        in_place = self._options["in_place"]
        kept = unheeded(self.graph.nodes, self._sequence) if in_place == "caffe" else frozenset[tuple[int, int]]()
        return Program(self.graph, self._sequence, self._shapes, fed, self.param.force_backward, in_place, kept)
