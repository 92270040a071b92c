"""A net that ends at chosen blobs: the layers that they need, and no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from caffe_compat.errors import GraphError
from caffe_compat.export.heads import Step, Value, steps_of
from caffe_compat.graph.graph import build_graph
from caffe_compat.graph.rules import net_state, partition
from caffe_compat.layers.base import Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.showing import nearest


def ending_at(model: Model, outputs: Sequence[str]) -> Model:
    """`model` with the layers of its TEST net that the last versions of the blobs `outputs` need, in order.

    All of the model where `outputs` is empty. A blob of them that a layer of the result reads is no output of that
    net; whoever wants all must ask for blobs. GraphError for a blob that no layer makes, for one that is an input or
    data, and for one that is named twice.
    """
    if not outputs:
        return model
    included, _ = partition(model.net.layer, net_state(model.net, "TEST"))
    steps = steps_of(included)
    needed = _wanted(model.net.name, steps, outputs)
    kept: list[Any] = []
    for step in reversed(steps):
        if needed.intersection(step.makes):
            needed.update(step.reads)
            kept.append(step.layer)
    net = NetParameter()
    net.CopyFrom(model.net)
    del net.layer[:]
    net.layer.extend(reversed(kept))
    names = {layer.name for layer in kept}
    weights = {name: blobs for name, blobs in model.weights.items() if name in names}
    return dataclasses.replace(model, net=net, weights=weights)


def _wanted(net: str, steps: Sequence[Step], outputs: Sequence[str]) -> set[Value]:
    last: dict[str, tuple[Value, Step]] = {value[0]: (value, step) for step in steps for value in step.makes}
    for name in outputs:
        if name not in last:
            raise GraphError(f"net '{net}' has no blob '{name}' to end at; {nearest(name, list(last))}")
        step = last[name][1]
        if not step.reads:
            given = f"layer '{step.layer.name}' gives it, no layer computes it"
            raise GraphError(f"net '{net}' cannot end at '{name}': {given}")
        if list(outputs).count(name) > 1:
            raise GraphError(f"net '{net}': output '{name}' is named twice")
    return {last[name][0] for name in outputs}


def shapes_left(whole: Model, ended: Model, shapes: Mapping[str, Shape] | None) -> dict[str, Shape]:
    """`shapes` without those of blobs of `whole` that no layer of `ended` makes."""
    gone = _tops(whole) - _tops(ended)
    return {name: shape for name, shape in (shapes or {}).items() if name not in gone}


def blob_of(name: str, known: Collection[str]) -> str:
    """The blob that a file calls `name`: that of `known`, or what stands before the number of a version."""
    return name if name in known else name.rpartition(":")[0]


def with_outputs(model: Model, names: Sequence[str]) -> Model:
    """`model`, or what is left of it when it ends at the blobs that a file calls `names`, where they are no outputs."""
    known = _tops(model)
    blobs = [blob_of(name, known) for name in names]
    outputs = build_graph(model.net, "TEST", loss_types=loss_types()).outputs
    return model if set(blobs) <= set(outputs) else ending_at(model, blobs)


def _tops(model: Model) -> set[str]:
    return {top for layer in model.net.layer for top in layer.top}
