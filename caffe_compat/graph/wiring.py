"""Which top every bottom is: blobs by name and version, layer by layer (net.cpp, AppendTop and AppendBottom)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from caffe_compat.errors import GraphError
from caffe_compat.graph.splits import split_blobs
from caffe_compat.showing import nearest

AUTOMATIC = "(automatic)"
MOST_HINTS = 20  # after so many unknown bottoms the nearest names are no longer sought, which takes long in large nets
UNMADE = -1  # the version of a bottom that no layer makes
OnFault = Callable[[str, GraphError], None]
LOSS_TYPES = frozenset(
    {
        "ContrastiveLoss",
        "EuclideanLoss",
        "HingeLoss",
        "InfogainLoss",
        "MultinomialLogisticLoss",
        "SigmoidCrossEntropyLoss",
        "SoftmaxWithLoss",
    }
)
"""Caffe's layers that make a top of their own where the prototxt names none (layer.hpp, AutoTopBlobs)."""


@dataclass(frozen=True)
class Blob:
    """One value in the net. An in-place layer makes version 1 of a name whose version 0 it reads, and so on."""

    name: str
    version: int = 0


@dataclass(frozen=True)
class Node:
    """One layer, wired. `propagate_down` says for each bottom whether a gradient may flow into it."""

    param: Any
    bottoms: tuple[Blob, ...]
    tops: tuple[Blob, ...]
    propagate_down: tuple[bool, ...]

    @property
    def name(self) -> str:
        return str(self.param.name)


def wire(
    layers: Sequence[Any],
    left_out: Sequence[Any] = (),
    loss_types: Container[str] = LOSS_TYPES,
    on_fault: OnFault | None = None,
) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The nodes of `layers`, and the names of the tops that no layer consumes, in alphabetical order.

    `left_out` are the layers that the rules keep out; they only serve the message of an error.
    GraphError for a bottom that no layer above makes, and for a top made twice other than in place; with `on_fault`
    it gets the layer's name and the GraphError instead, and the rest is wired as if the top were a new blob.
    """
    refuse = on_fault or _raise
    made: dict[str, Blob] = {}
    makers: dict[str, str] = {}
    available: set[str] = set()
    automatic = unknown = 0
    nodes = []
    for layer in layers:
        bottoms = []
        for index, name in enumerate(layer.bottom):
            if name not in available:
                unknown += 1
                fault = f"layer '{layer.name}': bottom {index} is '{name}', which no layer above makes"
                if unknown <= MOST_HINTS:
                    fault += _where_else(name, layers, left_out, makers)
                refuse(layer.name, GraphError(fault))
            available.discard(name)
            bottoms.append(made.get(name, Blob(name, UNMADE)))
        tops = []
        for index, name in enumerate(layer.top):
            in_place = index < len(bottoms) and layer.bottom[index] == name
            if name in made and not in_place:
                refuse(layer.name, GraphError(_made_twice(layer, name, makers[name])))
            made[name] = Blob(name, made[name].version + 1 if name in made else 0)
            makers[name] = layer.name
            available.add(name)
            tops.append(made[name])
        if not tops and layer.type in loss_types:
            tops.append(Blob(AUTOMATIC, automatic))
            automatic += 1
        nodes.append(Node(layer, tuple(bottoms), tuple(tops), _propagate_down(layer, refuse)))
    return tuple(nodes), tuple(sorted(available))


def _raise(layer: str, fault: GraphError) -> None:
    raise fault


def _propagate_down(layer: Any, refuse: OnFault) -> tuple[bool, ...]:
    given, wanted = len(layer.propagate_down), len(layer.bottom)
    if given not in (0, wanted):
        message = f"propagate_down is given {given} times; wanted none, or {wanted} as it has bottoms"
        refuse(layer.name, GraphError(f"layer '{layer.name}': {message}"))
    return tuple(layer.propagate_down) if given == wanted else (True,) * wanted


def _where_else(name: str, layers: Iterable[Any], left_out: Iterable[Any], makers: dict[str, str]) -> str:
    """Where the blob `name` is made, if not above; else the nearest names."""
    for other in layers:
        if name in other.top and name not in other.bottom:
            return f"; layer '{other.name}' makes it, but stands further down"
    for other in left_out:
        if name in other.top:
            return f"; layer '{other.name}' does, but its include or exclude rules leave it out here"
    copies = split_blobs(layers)
    return f"; {nearest(name, (copies.get(blob, blob) for blob in makers), 'there are')}"


def _made_twice(layer: Any, name: str, maker: str) -> str:
    return (
        f"layer '{layer.name}': top '{name}' is made by layer '{maker}' already; give it another name "
        "(to work in place, a layer must name it as its bottom at the same position, and no other layer may read it)"
    )
