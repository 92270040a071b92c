"""Which channels of which layers must go together: `couple_channels(graph)`.

    found = couple_channels(build_graph(model.net, "TEST"))
    for each in found.classes:                # every class: channels that are taken away, or kept, together
        each.size                             # so many of them, numbered 0 to size - 1
        each.narrowable, each.reason          # whether some may go, and if not, why
        each.producers                        # where they are made:   Axis(layer="conv1", blob=0, axis=0, offset=0)
        each.followers                        # what goes along:       Axis(layer="bn1", blob=0, axis=0, ...)
        each.consumers                        # where they are read:   Axis(layer="conv2", blob=0, axis=1, ...)
    found.runs(Blob("relu1"))                 # the classes that lie along axis 1 of a blob, in order

Channel k of a class has the indices `offset + k * repeat ... offset + (k + 1) * repeat - 1` along `axis` of blob `blob`
of layer `layer` (`Axis.indices(k)`). To take channel k away, delete these indices at every Axis of its class. A class
may lie at several offsets of one axis: of a grouped convolution, the channels at one place of each group go together,
so that all groups stay equal; of a layer named in `whole_groups`, a group's inputs and outputs go, and all others keep
theirs. Biases are Axes of blob 1. A depthwise convolution follows its bottom (`repeat` outputs a
channel). What the messages then must say follows from `runs`: num_output is what is left along the top, `group` of a
depthwise convolution what is left along its bottom, slice points are what is left of each top; Concat, Eltwise,
Flatten and the others need no change (a Slice without slice points then needs some, and a Reshape that names a number
of channels must name the new one).

Given several graphs (the TRAIN and TEST phases of one net, nets that share layer names), layers of one name have one
set of blobs, and a class is what may be narrowed in all of them. Channels are followed along axis 1, from the messages
alone; sizes that only data tell (height and width in front of an InnerProduct) come from `shapes`, {blob: shape}, such
as Net.shapes. What is not followed is fixed and says why: outputs, losses, what comes from sources, LRN and MVN across
channels, Softmax, Permute and Reshape of channels, recurrent layers, types and fields of forks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from caffe_compat.graph.blob_shapes import blob_shapes
from caffe_compat.graph.channel_rules import follow
from caffe_compat.graph.coupling import Coupling, Labels
from caffe_compat.graph.graph import Graph
from caffe_compat.graph.wiring import Blob


@dataclass(frozen=True)
class Axis:
    """Where the channels of a class lie: along `axis` of blob `blob` of the layer `layer`, from `offset` on."""

    layer: str
    blob: int
    axis: int
    offset: int = 0
    repeat: int = 1

    def indices(self, channel: int) -> range:
        """The indices along the axis that channel `channel` of the class has."""
        start = self.offset + channel * self.repeat
        return range(start, start + self.repeat)


@dataclass(frozen=True)
class ChannelClass:
    """`size` channels, each of which lies at every Axis; `reason` says why none may go, and is empty where some may."""

    size: int
    producers: tuple[Axis, ...] = ()
    followers: tuple[Axis, ...] = ()
    consumers: tuple[Axis, ...] = ()
    reason: str = ""

    @property
    def narrowable(self) -> bool:
        return not self.reason

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every Axis: of producers, followers and consumers."""
        return (*self.producers, *self.followers, *self.consumers)


@dataclass(frozen=True)
class Run:
    """Along axis 1 of a blob: all channels of the class `number` (its index in `classes`), `repeat` elements each."""

    number: int
    offset: int
    repeat: int = 1


@dataclass(frozen=True)
class Channels:
    """The classes of some graphs, and for each graph the runs of every blob whose channels are followed."""

    classes: tuple[ChannelClass, ...]
    blobs: tuple[Mapping[Blob, tuple[Run, ...]], ...] = field(repr=False)

    def runs(self, blob: Blob, graph: int = 0) -> tuple[Run, ...] | None:
        """The classes along axis 1 of `blob` of the graph given as number `graph`; None: they are not followed."""
        return self.blobs[graph].get(blob)


def couple_channels(
    *graphs: Graph, shapes: Mapping[str, Sequence[int]] | None = None, whole_groups: Collection[str] = ()
) -> Channels:
    """The classes of coupled channels of `graphs`, in the order in which their channels are made (see above)."""
    coupling = Coupling(whole_groups=whole_groups)
    followed = [_follow(coupling, graph, shapes) for graph in graphs]
    kinds = _components(coupling)
    reasons = np.full(kinds.max(initial=-1) + 1, -1)
    if coupling.fixed:
        labels = [labels for labels, _ in coupling.fixed]
        numbers = np.repeat(np.arange(len(labels)), [each.size for each in labels])
        reasons[kinds[np.concatenate(labels)[::-1]]] = numbers[::-1]  # the first one is written last
    arrays = list(coupling.places.values())
    distinct = {id(labels): labels for blobs in followed for labels in blobs.values()}
    number_of = {key: len(arrays) + k for k, key in enumerate(distinct)}
    pieces, sizes, firsts = _pieces(kinds, [*arrays, *distinct.values()], reasons)
    roles: list[dict[str, list[Axis]]] = [{"producer": [], "follower": [], "consumer": []} for _ in sizes]
    for (role, layer, blob, axis), of_array in zip(coupling.places, pieces, strict=False):
        for number, offset, repeat in of_array:
            roles[number][role].append(Axis(layer, blob, axis, offset, repeat))
    texts = [coupling.fixed[reasons[first]][1] if reasons[first] >= 0 else "" for first in firsts]
    classes = tuple(
        ChannelClass(size, tuple(role["producer"]), tuple(role["follower"]), tuple(role["consumer"]), text)
        for size, role, text in zip(sizes, roles, texts, strict=True)
    )
    runs = {key: tuple(Run(*piece) for piece in pieces[number]) for key, number in number_of.items()}
    return Channels(classes, tuple({blob: runs[id(labels)] for blob, labels in blobs.items()} for blobs in followed))


def _follow(coupling: Coupling, graph: Graph, shapes: Mapping[str, Sequence[int]] | None) -> dict[Blob, Labels]:
    """The labels of every blob of `graph` whose channels can be followed."""
    known = blob_shapes(graph, shapes)
    labels: dict[Blob, Labels | None] = {}
    for node in graph.nodes:
        bottoms = [labels.get(blob) for blob in node.bottoms]
        before, after = ([known.get(blob) for blob in blobs] for blobs in (node.bottoms, node.tops))
        tops = follow(coupling, node, bottoms, before, after)
        labels.update(zip(node.tops, tops, strict=False))
        for top, weight in zip(node.tops, node.param.loss_weight, strict=False):
            if weight:
                coupling.fix(labels.get(top), f"blob '{top.name}' counts in the loss")
    last = graph.last_versions()
    for name in graph.outputs:
        if name in last:
            coupling.fix(labels.get(last[name]), f"blob '{name}' is an output of the net")
    return {blob: array for blob, array in labels.items() if array is not None and array.size}


def _components(coupling: Coupling) -> NDArray[np.int64]:
    """For every label the number of the channel that it is; channels are numbered as they are first made."""
    if not coupling.pairs:
        return np.arange(coupling.count)
    # int32: of int64 indices, scipy 1.11.2 makes components that are not there, without an exception
    first, second = (np.concatenate([pair[side] for pair in coupling.pairs]).astype(np.int32) for side in (0, 1))
    edges = coo_array((np.ones(first.size, bool), (first, second)), shape=(coupling.count,) * 2)
    _, kinds = connected_components(edges, directed=False)
    at = np.full(kinds.max(initial=-1) + 1, coupling.count)
    np.minimum.at(at, kinds, np.arange(coupling.count))
    rank = np.empty(at.size, np.int64)
    rank[np.argsort(at)] = np.arange(at.size)
    numbered: NDArray[np.int64] = rank[kinds]
    return numbered


def _pieces(
    kinds: NDArray[np.int64], arrays: Sequence[Labels], reasons: NDArray[np.int64]
) -> tuple[list[list[tuple[int, int, int]]], list[int], list[int]]:
    """For every array the (class, offset, repeat) it is made of; the sizes of the classes; their first channels.

    A class is as long as the channels of all arrays run on together, under one reason.
    """
    if not arrays:
        return [], [], []
    flat = kinds[np.concatenate(arrays)]
    starts = np.cumsum([0, *(each.size for each in arrays[:-1])])
    opens = np.zeros(flat.size, bool)
    opens[starts] = True
    new = opens.copy()
    new[1:] |= flat[1:] != flat[:-1]
    at = np.flatnonzero(new)
    channel, times = flat[at], np.diff(np.append(at, flat.size))
    goes_on = ~opens[at]
    goes_on[1:] &= (channel[1:] == channel[:-1] + 1) & (times[1:] == times[:-1])
    cut = np.zeros(reasons.size + 1, bool)
    cut[0] = True
    cut[channel[~goes_on]] = True
    cut[channel[np.append(~goes_on[1:], True)] + 1] = True
    cut[1:-1] |= reasons[1:] != reasons[:-1]
    firsts = np.flatnonzero(cut[:-1])
    begins = np.flatnonzero(~goes_on | cut[channel])
    owner = np.searchsorted(starts, at[begins], side="right") - 1
    columns = (owner, np.cumsum(cut)[channel[begins]] - 1, at[begins] - starts[owner], times[begins])
    pieces: list[list[tuple[int, int, int]]] = [[] for _ in arrays]
    for index, number, offset, repeat in zip(*(column.tolist() for column in columns), strict=True):
        pieces[index].append((number, offset, repeat))
    return pieces, np.diff(np.append(firsts, reasons.size)).tolist(), firsts.tolist()
