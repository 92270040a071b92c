"""What a net is made of, for those who only read it: layers and shapes, with no memory for blobs and no program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from caffe_compat.errors import GraphError
from caffe_compat.graph.graph import build_graph
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.build import loss_weights
from caffe_compat.net.in_place import chosen_in_place, defined_hazards
from caffe_compat.net.params import learnable_params
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.net.table import LayerFacts, batch_size, layer_facts, net_html, table
from caffe_compat.proto import dialects
from caffe_compat.proto.model import ModelLike, as_model
from caffe_compat.showing import nearest


class Description:
    """The net that `Net(model, phase, ...)` would be, where that can be built: the same errors, table and facts.

    The weights of `model` are not looked at. Arguments as of Net.
    """

    def __init__(
        self,
        model: ModelLike,
        phase: str = "TEST",
        level: int = 0,
        stages: Iterable[str] = (),
        compat: str = "bvlc",
        input_shapes: Mapping[str, Shape] | None = None,
        folder: Path | None = None,
    ) -> None:
        model = as_model(model)
        self.graph = build_graph(model.net, phase, level, stages, loss_types())
        context = Context(phase=phase, compat=compat, folder=folder or model.folder, fork=dialects.disputed(model.net))
        with torch.device("meta"):  # shapes without memory or random numbers
            self._layers, self._shapes = set_up_layers(self.graph, context, input_shapes or {})
        defined_hazards(self.graph, chosen_in_place())
        learnable_params(self._layers, model.net.force_backward)
        self._refuse_unknown(input_shapes or {})
        for node, layer in zip(self.graph.nodes, self._layers, strict=True):
            loss_weights(node, layer)

    @property
    def batch_size(self) -> int:
        """How many images it takes at once: the first axis of its first input."""
        return batch_size(self.graph, self._shapes)

    def layer_facts(self) -> list[LayerFacts]:
        """A row a layer: name, type, shapes of its tops, learnable values, multiply-adds for one image."""
        return layer_facts(self.graph, self._layers, self._shapes)

    def __repr__(self) -> str:
        return table(self.graph, self._layers, self._shapes)

    def _repr_html_(self) -> str:
        return net_html(self.graph, self._layers, self._shapes)

    def _refuse_unknown(self, given: Iterable[str]) -> None:
        steps = zip(self.graph.nodes, self._layers, strict=True)
        inputs = [top.name for node, layer in steps if isinstance(layer, SourceLayer) for top in node.tops]
        for name in given:
            if name not in inputs:
                hint = nearest(name, inputs, "its inputs")
                raise GraphError(f"net '{self.graph.name}' has no input '{name}'; {hint}")
