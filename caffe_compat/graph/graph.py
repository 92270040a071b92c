"""A NetParameter as one phase, level and set of stages see it, wired."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from caffe_compat.errors import GraphError
from caffe_compat.graph.rules import net_state, partition, phase_name
from caffe_compat.graph.splits import insert_splits
from caffe_compat.graph.wiring import LOSS_TYPES, Blob, Node, OnFault, wire

__all__ = ["Blob", "Graph", "Node", "build_graph"]


@dataclass(frozen=True)
class Graph:
    """The layers of one net in order, Splits included; `outputs` are the names of the blobs that no layer consumes."""

    name: str
    state: Any
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    @property
    def phase(self) -> str:
        """ "TRAIN" or "TEST"."""
        return phase_name(self.state.phase)

    def last_versions(self) -> dict[str, Blob]:
        """Every blob name with its final version, in the order in which the names first appear."""
        return {top.name: top for node in self.nodes for top in node.tops}


def build_graph(
    net: Any,
    phase: str,
    level: int = 0,
    stages: Iterable[str] = (),
    loss_types: Container[str] = LOSS_TYPES,
    on_fault: OnFault | None = None,
) -> Graph:
    """The graph of an upgraded NetParameter; GraphError where its layers do not fit together (see `wire`).

    Every Node's param is a copy with its phase filled in, as Caffe writes it into a caffemodel.
    A layer of one of the `loss_types` that names no top makes one.
    """
    for field in ("layers", "input"):
        if getattr(net, field):
            raise GraphError(
                f"net '{net.name}' has the old field '{field}'; read it with read_model, which upgrades it"
            )
    state = net_state(net, phase, level, stages)
    included, left_out = partition(net.layer, state)
    layers = insert_splits(included)
    for layer in layers:
        if not layer.HasField("phase"):
            layer.phase = state.phase
    nodes, outputs = wire(layers, left_out, loss_types, on_fault)
    return Graph(net.name, state, nodes, outputs)
