"""Graph -> torch.fx.GraphModule: one call_module a Caffe layer, one value a blob version."""

from __future__ import annotations

import functools
import operator
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from keyword import iskeyword
from typing import Any

from torch import fx, nn

from caffe_compat.errors import GraphError
from caffe_compat.graph.graph import Blob, Graph, Node
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.activation import ReLU
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.in_place import InPlacePlan
from caffe_compat.net.shapes import Shapes

# Types whose top is a new tensor that their gradient does not need
_FRESH = frozenset({"Convolution", "Deconvolution", "InnerProduct", "Scale", "BatchNorm"})


@functools.cache
def _empty() -> fx.GraphModule:
    """What has every attribute that a layer's name must not shadow."""
    return fx.GraphModule(nn.Module(), fx.Graph())


def loss_weights(node: Node, layer: Any) -> tuple[float, ...]:
    """The loss weight of every top: as given, else the default of the layer for its first top (layer.hpp)."""
    given = tuple(node.param.loss_weight)
    if given and len(given) != len(node.tops):
        raise GraphError(
            f"layer '{node.name}': loss_weight is given {len(given)} times; wanted none, or {len(node.tops)}, one a top"
        )
    return given or tuple(0.0 if index else layer.default_loss_weight for index in range(len(node.tops)))


def module_names(layers: Sequence[Layer]) -> list[str]:
    """An attribute name for every layer: its own with _ for what Python does not allow; unique, shadowing nothing."""
    names: dict[str, None] = {}
    for layer in layers:
        stem = re.sub(r"\W", "_", layer.name, flags=re.ASCII) or "_"
        if stem[0].isdigit():
            stem = f"_{stem}"
        if iskeyword(stem) or hasattr(_empty(), stem):
            stem = f"{stem}_"
        name, number = stem, 1
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names[name] = None
    return list(names)


def let_relus_overwrite(graph: Graph, layers: Sequence[Layer], touched: Collection[int]) -> None:
    """Let the ReLUs that are in place in the prototxt be so in memory, where no gradients are wanted.

    That is where their bottom is the new tensor of a layer, and nobody else reads it. `touched`: the numbers of the
    nodes whose blobs others look for as Caffe leaves them (Hazards.touched).
    """
    makers = {top: node for node in graph.nodes for top in node.tops}
    readers = Counter(bottom for node in graph.nodes for bottom in node.bottoms)
    for number, (node, layer) in enumerate(zip(graph.nodes, layers, strict=True)):
        if isinstance(layer, ReLU) and node.bottoms[0].name == node.tops[0].name and number not in touched:
            bottom = node.bottoms[0]
            layer.inplace = bottom in makers and makers[bottom].param.type in _FRESH and readers[bottom] == 1


class Program:
    """The fx graph of those layers that can run once the blobs `fed` are given.

    `values` has the fx value of every blob version that it computes. in_place: "caffe" or "right", as Net has it.
    unheeded: (node, bottom) where a gradient flows though propagate_down is false, as net/needs.py has it.
    """

    def __init__(
        self,
        graph: Graph,
        layers: Sequence[Layer],
        shapes: Shapes,
        fed: Collection[str],
        force_backward: bool,
        in_place: str = "caffe",
        unheeded: Container[tuple[int, int]] = (),
    ) -> None:
        self.graph = graph
        self.shapes = shapes
        self.force_backward = force_backward
        self.modules: dict[str, nn.Module] = dict(zip(module_names(layers), layers, strict=True))
        self.fx_graph = fx.Graph()
        self.values: dict[Blob, fx.Node] = {}
        self.loss: fx.Node | None = None
        self.used = {bottom for node in graph.nodes for bottom in node.bottoms}
        nodes = dict(zip(self.modules, graph.nodes, strict=True))
        self.flows = {
            name: [flow or (number, index) in unheeded for index, flow in enumerate(node.propagate_down)]
            for number, (name, node) in enumerate(nodes.items())
        }
        sources = {name: node for name, node in nodes.items() if isinstance(self.modules[name], SourceLayer)}
        for top in (top for node in sources.values() for top in node.tops if top.name in fed):
            self.values[top] = self._add("placeholder", _identifier(top.name), (), top.name)
        running = self._running(nodes, sources)
        self.plan = InPlacePlan(self.fx_graph, [nodes[name] for name in running], in_place)
        for number, name in enumerate(running):
            needed = nodes[name].tops if name in sources else nodes[name].bottoms
            if all(blob in self.values for blob in needed):
                self._call(number, name, nodes[name], needed)

    def _running(self, nodes: Mapping[str, Node], sources: Container[str]) -> list[str]:
        """The names of the sources, and of the layers that can run, in order."""
        known, names = set(self.values), []
        for name, node in nodes.items():
            if name in sources:
                names.append(name)
            elif all(blob in known for blob in node.bottoms):
                names.append(name)
                known.update(node.tops)
        return names

    def module(self, outputs: Iterable[str]) -> fx.GraphModule:
        """The program as a module that gives ({name: last version of that blob}, total loss or None)."""
        last = {blob.name: self.plan.final(blob, self.values) for blob in self.values}
        self.fx_graph.output(({name: last[name] for name in outputs}, self.loss))
        return fx.GraphModule(dict(self.modules), self.fx_graph, class_name=_identifier(self.graph.name or "Net"))

    def _call(self, number: int, name: str, node: Node, inputs: tuple[Blob, ...]) -> None:
        flows = self.flows[name] or (True,) * len(inputs)
        args = tuple(self._input(blob, flow) for blob, flow in zip(inputs, flows, strict=True))
        args = self.plan.arguments(number, args, self.values)
        layer = self.modules[name]
        self.modules[name] = self.plan.module(number, layer)
        names = [top.name if top.version == 0 else node.name for top in node.tops]
        if len(node.tops) == 1:
            tops = [self._add("call_module", name, args, names[0])]
        else:
            value = self._add("call_module", name, args, node.name)
            tops = [self._add("call_function", operator.getitem, (value, i), top) for i, top in enumerate(names)]
        for top, value, weight in zip(node.tops, tops, loss_weights(node, layer), strict=True):
            self.values[top] = self.plan.kept(top, value)
            if weight:
                self._add_loss(top, weight, teaches=bool(node.param.loss_weight) or top not in self.used)

    def _input(self, blob: Blob, flow: bool) -> fx.Node:
        value = self.values[blob]
        if flow or self.force_backward:
            return value
        return self._add("call_method", "detach", (value,), f"{value.name}_detached")

    def _add_loss(self, top: Blob, weight: float, teaches: bool) -> None:
        """Add weight * sum(top) to the total loss.

        A loss that another layer reads has no gradient of its own unless the prototxt gives its loss_weight: that layer
        overwrites it (Net::Init puts a Split between only for a given weight).
        """
        term = self.values[top]
        if not teaches:
            term = self._add("call_method", "detach", (term,), f"{top.name}_detached")
        if self.shapes[top] != ():
            term = self._add("call_method", "sum", (term,), f"{top.name}_sum")
        if weight != 1:
            term = self._add("call_function", operator.mul, (term, weight), f"{top.name}_weighted")
        if self.loss is not None:
            term = self._add("call_function", operator.add, (self.loss, term), "total_loss")
        self.loss = term

    def _add(self, kind: str, target: Any, args: tuple[Any, ...], name: str) -> fx.Node:
        return self.fx_graph.create_node(kind, target, args, name=_identifier(name))


def partial_outputs(graph: Graph, computed: Collection[Blob]) -> list[str]:
    """The outputs of a run that computes only some blobs: those of the net, and what nothing that ran has consumed.

    A Split that nothing consumes counts as the blob that it copies.
    """
    ran = [node for node in graph.nodes if all(blob in computed for blob in (*node.bottoms, *node.tops))]
    used = {bottom for node in ran for bottom in node.bottoms if node.param.type != "Split"}
    used |= {node.bottoms[0] for node in ran if node.param.type == "Split" and used & set(node.tops)}
    splits = {top for node in ran if node.param.type == "Split" for top in node.tops}
    last = {blob.name: blob for blob in computed}
    return sorted(name for name, blob in last.items() if blob not in used and blob not in splits)


def _identifier(name: str) -> str:
    """A variable of the program, or an argument of it; torch.fx sees to names given twice."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    if found[0].isdigit():
        return f"_{found}"
    return f"{found}_" if found == "self" or iskeyword(found) else found
