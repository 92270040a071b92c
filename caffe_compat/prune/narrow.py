"""A net with fewer channels: `narrow(model, {"conv1": [3, 7]})` takes filters 3 and 7 of conv1 away, and all theirs.

Channels go class by class (graph/channels.py): the filters and biases that make them, the BatchNorm, Scale, Bias and
PReLU entries that go along, and the columns that read them. Of a filter whose weights are all 0 (a net trained with
masks) the channel is a constant, its bias or what BatchNorm and Scale make of 0: it is folded into the bias of whoever
reads it. That is exact but where a padded convolution reads a constant other than 0, whose border knows no constant.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import CaffeCompatError, DataError, RankError
from caffe_compat.graph.channels import ChannelClass, Channels, couple_channels
from caffe_compat.graph.graph import Graph, build_graph
from caffe_compat.layers.base import Context, Shape
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.spelling import spell_out_norms
from caffe_compat.prune.constants import Removed, Weights, fold_constants
from caffe_compat.prune.owners import owns_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coupled:
    """The classes of a model: of its TEST net, and of its TRAIN net where that can be made."""

    graphs: tuple[Graph, ...]
    channels: Channels

    def class_of(self, layer: str, filter: int) -> tuple[int, int] | None:
        """(class, channel) that filter `filter` of `layer` makes; None for a layer that makes none."""
        for number, each in enumerate(self.channels.classes):
            for axis in (*each.producers, *each.followers):
                if axis.layer == layer and axis.blob == 0:
                    channel = (filter - axis.offset) // axis.repeat
                    if 0 <= channel < each.size and filter >= axis.offset:
                        return number, channel
        return None


@dataclass(frozen=True)
class Narrowed:
    """model: the smaller one. kept: layer -> the filters of it that are left, of those that lost some.

    constants: readers into whose bias constants were folded. inexact: those whose padding does not know the constant.
    """

    model: Model
    kept: dict[str, list[int]]
    constants: tuple[str, ...] = ()
    inexact: tuple[str, ...] = field(default=())


def couple(
    model: Model,
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
    whole_groups: Collection[str] = (),
) -> Coupled:
    """The classes of coupled channels of `model`; whole_groups: see graph/channels.py."""
    graphs, shapes = [], {}
    for phase in ("TEST", "TRAIN"):
        try:
            graph = build_graph(model.net, phase)
        except CaffeCompatError:
            if phase == "TEST":
                raise
            continue
        if not graph.nodes:
            continue
        try:
            with torch.device("meta"):
                _, found = set_up_layers(graph, Context(phase, folder=folder), dict(input_shapes or {}))
            shapes.update({blob.name: shape for blob, shape in found.items()})
        except DataError as error:
            logger.info("Shapes of the %s net: %s", phase, error)
        graphs.append(graph)
    return Coupled(tuple(graphs), couple_channels(*graphs, shapes=shapes or None, whole_groups=whole_groups))


def classes_removed(coupled: Coupled, filters: Mapping[str, Collection[int]]) -> Removed:
    """The channels of classes that the `filters` of layers are; RankError where they cannot go, or nothing is left."""
    removed: dict[int, set[int]] = {}
    for layer, numbers in filters.items():
        for number in numbers:
            place = coupled.class_of(layer, number)
            if place is None:
                raise RankError(f"layer '{layer}' has no filter {number} whose channel can be followed")
            each = coupled.channels.classes[place[0]]
            if not each.narrowable:
                raise RankError(f"layer '{layer}': its filters cannot go, for {each.reason}")
            removed.setdefault(place[0], set()).add(place[1])
        _tell_partners(coupled, removed, layer, set(numbers))
    return {number: sorted(channels) for number, channels in removed.items()}


def _tell_partners(coupled: Coupled, removed: Mapping[int, set[int]], layer: str, named: set[int]) -> None:
    """A line where filters of `layer` go along with the `named` ones because groups would become unequal."""
    axes = [(number, axis) for number in removed for axis in coupled.channels.classes[number].producers]
    own = [(number, axis) for number, axis in axes if axis.layer == layer and axis.blob == 0]
    gone = {index for number, axis in own for channel in removed[number] for index in axis.indices(channel)}
    if more := sorted(gone - named):
        logger.warning("layer '%s': filters %s go too, for groups would become unequal without them", layer, more)


def narrow(
    model: Model,
    filters: Mapping[str, Collection[int]],
    input_shapes: Mapping[str, Shape] | None = None,
    fold: bool = True,
    folder: Path | None = None,
) -> Narrowed:
    """`model` without these `filters`, {layer: numbers}, and what goes with them.

    fold: constants of filters that are all 0 go into the biases of their readers; without it they are dropped, as most
    authors' rewriting does. RankError for filters that cannot go, and for a layer that would lose all of them.
    """
    coupled = couple(model, input_shapes, folder)
    return narrow_classes(model, coupled, classes_removed(coupled, filters), input_shapes, fold, folder)


def narrow_classes(
    model: Model,
    coupled: Coupled,
    removed: Removed,
    input_shapes: Mapping[str, Shape] | None = None,
    fold: bool = True,
    folder: Path | None = None,
) -> Narrowed:
    """The same for channels of classes."""
    classes = coupled.channels.classes
    for number, channels in removed.items():
        if len(channels) >= classes[number].size:
            layer = next((axis.layer for axis in classes[number].producers), "?")
            raise RankError(f"layer '{layer}' would lose all its {classes[number].size} filters; remove fewer")
    net = NetParameter()
    net.CopyFrom(model.net)
    weights: Weights = {name: [np.array(blob) for blob in blobs] for name, blobs in model.weights.items()}
    folded = fold_constants(model, net, weights, classes, removed, input_shapes, folder) if fold else ((), ())
    lost: dict[tuple[str, int, int], set[int]] = {}
    for number, channels in removed.items():
        for axis in classes[number].axes:
            lost.setdefault((axis.layer, axis.blob, axis.axis), set()).update(
                index for channel in channels for index in axis.indices(channel)
            )
    for layer in folded[0]:  # a bias made for a constant goes with the filters of its layer
        if (layer, 1, 0) not in lost and len(model.weights[layer]) < 2 and (layer, 0, 0) in lost:
            lost[layer, 1, 0] = lost[layer, 0, 0]
    before = {name: [blob.shape for blob in blobs] for name, blobs in weights.items()}
    for (layer, blob, along), indices in lost.items():
        if layer in weights:
            weights[layer][blob] = np.delete(weights[layer][blob], sorted(indices), axis=along)
    kept = _rewrite(net, weights, before, classes, removed, lost)
    _slices(net, coupled, removed)
    spell_out_norms(net)
    return Narrowed(Model(net, {name: tuple(blobs) for name, blobs in weights.items()}), kept, *folded)


def _rewrite(
    net: Any,
    weights: Weights,
    before: Mapping[str, list[tuple[int, ...]]],
    classes: tuple[ChannelClass, ...],
    removed: Removed,
    lost: Mapping[tuple[str, int, int], set[int]],
) -> dict[str, list[int]]:
    """Set num_output and group to what is left; the filters that are left of each layer that makes fewer."""
    follows = {axis.layer for number in removed for axis in classes[number].followers if axis.blob == 0}
    makes = {axis.layer: axis.axis for number in removed for axis in classes[number].producers if axis.blob == 0}
    kept = {}
    for layer in net.layer:
        name = layer.name
        along = makes.get(name, 0)
        gone = lost.get((name, 0, along), set())
        narrows = name in makes or (name in follows and "onvolution" in layer.type)
        if not gone or not narrows or not owns_weights(layer):
            continue
        old = before[name][0][along]
        kept[name] = [index for index in range(old) if index not in gone]
        if layer.type == "InnerProduct":
            layer.inner_product_param.num_output = len(kept[name])
            continue
        settings = layer.convolution_param
        if name in follows and name not in makes and settings.group > 1:  # depthwise, or whole groups
            settings.group = settings.group * len(kept[name]) // old
            settings.num_output = settings.num_output * len(kept[name]) // old
        else:
            settings.num_output = len(kept[name]) * (settings.group if layer.type == "Deconvolution" else 1)
    return kept


def _slices(net: Any, coupled: Coupled, removed: Removed) -> None:
    """Slice points, and channels that a Reshape names, after the cut."""
    sizes = [each.size - len(removed.get(number, ())) for number, each in enumerate(coupled.channels.classes)]

    def left(blob: Any, graph: int) -> int | None:
        runs = coupled.channels.runs(blob, graph)
        return None if runs is None else sum(sizes[run.number] * run.repeat for run in runs)

    layers = {(layer.name, layer.type, *layer.top): layer for layer in net.layer}
    for number, graph in enumerate(coupled.graphs):
        for node in graph.nodes:
            layer = layers.get((node.param.name, node.param.type, *node.param.top))
            if layer is None or layer.type not in ("Slice", "Reshape") or not removed:
                continue
            widths = [left(top, number) for top in node.tops]
            if any(width is None for width in widths):
                continue
            ends = np.cumsum([int(width or 0) for width in widths])
            if layer.type == "Slice" and ends[-1] == left(node.bottoms[0], number):  # which one of rows is not
                layer.slice_param.slice_point[:] = ends[:-1].tolist()
            elif layer.type == "Reshape" and layer.reshape_param.axis == 0 and _names_channels(layer):
                layer.reshape_param.shape.dim[1] = int(widths[0] or 0)


def _names_channels(reshape: Any) -> bool:
    dims = reshape.reshape_param.shape.dim
    return len(dims) > 1 and dims[1] > 0
