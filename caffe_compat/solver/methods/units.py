"""Channels that can only go together, as Group Fisher pruning has them: of a grouped convolution whole groups.

graph/channels.py couples the channels at one place of each group, so that all groups stay equal; here a group of 1 is
asked for in its place, and then the inputs and outputs of each group are one unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from caffe_compat.graph.channels import Axis, ChannelClass, couple_channels
from caffe_compat.graph.graph import Blob, build_graph
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.solver.methods.layers import FILTER_BANKS


@dataclass(frozen=True)
class Place:
    """Some channels of a layer: `indices` along its bottom's axis 1 (reads) or its top's (writes)."""

    layer: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Unit:
    """Channels that go together. members: (class, channel) each; sizes of a class: see `class_sizes`."""

    members: tuple[tuple[int, int], ...]
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]


def find_units(net: Net, kept: Iterable[str]) -> tuple[list[Unit], dict[int, int]]:
    """The units of `net`, and the size of every class; kept: layers whose inputs stay."""
    message = NetParameter()
    message.CopyFrom(net.param)
    groups = {}
    for layer in message.layer:
        settings = layer.convolution_param
        if layer.name in net.layers and layer.type == "Convolution" and settings.group > 1:
            inputs = net.params[layer.name][0].shape[1] * settings.group
            if settings.group < inputs:
                groups[layer.name] = (settings.group, inputs, settings.num_output)
                settings.group = 1
    state = net.graph.state
    graph = build_graph(message, net.graph.phase, state.level, list(state.stage))
    classes = couple_channels(graph, shapes=net.shapes).classes
    parent = {(number, k): (number, k) for number, each in enumerate(classes) for k in range(each.size)}

    def root(member: tuple[int, int]) -> tuple[int, int]:
        while parent[member] != member:
            member = parent[member]
        return member

    for name, (group, inputs, outputs) in groups.items():
        parts: list[list[tuple[int, int]]] = [[] for _ in range(group)]
        for number, each in enumerate(classes):
            for axes, width in ((each.consumers, inputs), (each.producers, outputs)):
                for axis in axes:
                    if axis.layer == name and axis.blob == 0:
                        for k in range(each.size):
                            parts[(axis.offset + k) * group // width].append((number, k))
        for part in parts:
            for member in part[1:]:
                first, second = sorted((root(part[0]), root(member)))
                parent[second] = first
    members: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for member in parent:
        members.setdefault(root(member), []).append(member)
    kinds = {name: layer.param.type for name, layer in net.layers.items()}
    units = [_unit(classes, every, kinds) for every in members.values()]
    fixed = {number for number, each in enumerate(classes) if not each.narrowable}
    stays = set(kept)
    free = [
        unit
        for unit in units
        if unit.reads and not any(n in fixed for n, _ in unit.members) and not any(p.layer in stays for p in unit.reads)
    ]
    return free, {number: each.size for number, each in enumerate(classes)}


def _unit(classes: tuple[ChannelClass, ...], every: list[tuple[int, int]], kinds: dict[str, str]) -> Unit:
    reads: dict[str, list[int]] = {}
    writes: dict[str, list[int]] = {}
    for number, k in every:
        each = classes[number]
        for axis in each.consumers:
            _note(reads, axis, k, kinds)
        for axis in each.producers:
            _note(writes, axis, k, kinds)
        for axis in each.followers:  # depthwise convolutions read and write
            _note(reads, axis, k, kinds)
            _note(writes, axis, k, kinds)
    made = [tuple(Place(layer, tuple(indices)) for layer, indices in places.items()) for places in (reads, writes)]
    return Unit(tuple(every), *made)


def _note(places: dict[str, list[int]], axis: Axis, channel: int, kinds: dict[str, str]) -> None:
    if axis.blob == 0 and kinds.get(axis.layer) in FILTER_BANKS:
        places.setdefault(axis.layer, []).extend(axis.indices(channel))


def paths(net: Net) -> dict[str, Counter[str]]:
    """For each filter bank: in how many ways the output of each other one comes to its bottoms with none between."""
    makers = {top: node for node in net.graph.nodes for top in node.tops}
    known: dict[Blob, Counter[str]] = {}

    def sources(blob: Blob) -> Counter[str]:
        if blob not in known:
            node = makers.get(blob)
            if node is None:
                known[blob] = Counter()
            elif node.param.type in FILTER_BANKS:
                known[blob] = Counter([node.name])
            else:
                known[blob] = sum((sources(bottom) for bottom in node.bottoms), Counter())
        return known[blob]

    for node in net.graph.nodes:
        for top in node.tops:
            sources(top)  # in order, so that no long net is searched to its depth
    return {
        node.name: sum((sources(bottom) for bottom in node.bottoms), Counter())
        for node in net.graph.nodes
        if node.param.type in FILTER_BANKS
    }
