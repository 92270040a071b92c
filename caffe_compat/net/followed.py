"""Layers of a prepared net that compiled loops compute, run in one call: buffers planned once, no Python in between.

Between two loops Python takes some 70 us, for it finds its own instructions in no cache any more; a loop of GoogLeNet
takes 400. What a concatenation brings together is written where it lies in its top.
"""

from __future__ import annotations

import operator
import threading
from typing import Any

import torch
from torch import Tensor, fx, nn

from caffe_compat import kernels
from caffe_compat.layers.caffe.concat_slice import Concat
from caffe_compat.layers.looped import is_plain
from caffe_compat.net.buffers import COMPUTED, Plan, planned

_FEWEST = 2  # layers that are worth a call of their own
_MOST_SHAPES = 8  # of inputs that buffers are kept for


def followed(program: fx.GraphModule) -> fx.GraphModule:
    """`program` with one module for each row of layers that loops may compute; itself where there is no such row."""
    if kernels.loops("sequence") is None:
        return program
    modules: dict[str, nn.Module] = dict(program.named_children())
    graph = fx.Graph()
    graph.output(graph.graph_copy(program.graph, {}))
    for row in _rows(graph, modules):
        inputs = list(dict.fromkeys(each for node in row for each in node.all_input_nodes if each not in row))
        outputs = [node for node in row if any(user not in row for user in node.users)]
        name = f"followed_{row[0].target}"
        modules[name] = Followed(_part(modules, row, inputs, outputs))
        with graph.inserting_before(row[0]):
            made = graph.call_module(name, tuple(inputs))
            tops = [graph.call_function(operator.getitem, (made, place)) for place in range(len(outputs))]
        inside = set(row)
        for node, top in zip(outputs, tops, strict=True):
            node.replace_all_uses_with(top, delete_user_cb=lambda user: user not in inside)  # noqa: B023
        for node in reversed(row):
            graph.erase_node(node)
    graph.lint()
    return fx.GraphModule(modules, graph, class_name="Prepared")


def _rows(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[list[fx.Node]]:
    """Nodes that follow one another and that loops compute, in all likelihood."""
    rows: list[list[fx.Node]] = [[]]
    for node in graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        row = rows[-1]
        if type(module) in COMPUTED or (
            isinstance(module, Concat) and _is_written_in_place(module, node, row, modules)
        ):
            row.append(node)
        else:
            rows.append([])
    return [row for row in rows if len(row) >= _FEWEST]


def _is_written_in_place(layer: Concat, node: fx.Node, row: list[fx.Node], modules: dict[str, nn.Module]) -> bool:
    """Whether the bottoms of a Concat of channels are computed in `row`, and for it alone."""
    bottoms = node.all_input_nodes
    return (
        layer.axis == 1
        and len(bottoms) == len(node.args)
        and all(bottom in row and len(bottom.users) == 1 for bottom in bottoms)
        and all(type(modules[str(bottom.target)]) in COMPUTED for bottom in bottoms)
    )


def _part(
    modules: dict[str, nn.Module], row: list[fx.Node], inputs: list[fx.Node], outputs: list[fx.Node]
) -> fx.GraphModule:
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in row:
        copies[node] = graph.node_copy(node, lambda each: copies[each])
    graph.output(tuple(copies[node] for node in outputs))
    return fx.GraphModule(modules, graph, class_name="Row")


class Followed(nn.Module):
    """The inputs of `plain` to the tuple of its outputs, as `plain` gives them, which computes where loops cannot."""

    def __init__(self, plain: fx.GraphModule) -> None:
        super().__init__()
        self.plain = plain
        self._plans: dict[tuple[Any, ...], Plan | None] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plans": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        # buffers serve one pass at a time
        if all(map(is_plain, inputs)) and self._lock.acquire(blocking=False):
            try:
                plan = self._plan(inputs)
                if plan is not None:
                    return plan(inputs)
            finally:
                self._lock.release()
        outputs: tuple[Tensor, ...] = self.plain(*inputs)
        return outputs

    def _plan(self, inputs: tuple[Tensor, ...]) -> Plan | None:
        kinds = tuple((each.shape, each.stride(), each.dtype, each.device) for each in inputs)
        key = (torch.get_num_threads(), *kinds)
        if key not in self._plans:
            while len(self._plans) >= _MOST_SHAPES:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = planned(self.plain, inputs)
        return self._plans[key]
