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
from caffe_compat.graph.channels import Axis, ChannelClass, Channels, couple_channels
from caffe_compat.graph.graph import Graph, build_graph
from caffe_compat.layers.base import Context, Shape
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.prune.owners import owners, owns_weights

logger = logging.getLogger(__name__)

Weights = dict[str, list[np.ndarray]]
Removed = dict[int, list[int]]  # number of a class -> its channels that go


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


def couple(model: Model, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None) -> Coupled:
    """The classes of coupled channels of `model`; see graph/channels.py."""
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
    return Coupled(tuple(graphs), couple_channels(*graphs, shapes=shapes or None))


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
    return {number: sorted(channels) for number, channels in removed.items()}


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
    folded = _fold(model, net, weights, classes, removed, input_shapes, folder) if fold else ((), ())
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
        if name in follows and name not in makes and settings.group > 1:  # depthwise
            settings.group = settings.group * len(kept[name]) // old
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


def _fold(
    model: Model,
    net: Any,
    weights: Weights,
    classes: tuple[ChannelClass, ...],
    removed: Removed,
    input_shapes: Mapping[str, Shape] | None,
    folder: Path | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add the constants of channels made by filters of zeros to their readers' biases; (readers, inexact ones)."""
    dead = {number: _dead(weights, classes[number], channels) for number, channels in removed.items()}
    dead = {number: channels for number, channels in dead.items() if channels}
    if not dead:
        return (), ()
    values = _run(model, input_shapes, folder)
    layers = owners(net.layer)
    constants, inexact = dict[str, None](), dict[str, None]()
    for number, channels in dead.items():
        for axis in classes[number].consumers:
            layer = layers[axis.layer]
            if axis.layer not in weights or layer.type not in ("Convolution", "InnerProduct"):
                continue
            if axis.axis != 1 or layer.bottom[0] not in values:
                inexact[axis.layer] = None
                continue
            added, exact = _added(layer, weights[axis.layer][0], axis, channels, values[layer.bottom[0]])
            if not exact:
                inexact[axis.layer] = None
            if added.any():
                _add_to_bias(layer, weights[axis.layer], added)
                constants[axis.layer] = None
    return tuple(constants), tuple(inexact)


def _dead(weights: Weights, each: ChannelClass, channels: list[int]) -> list[int]:
    """Those of `channels` that only filters of zeros make."""
    makes = [axis for axis in each.producers if axis.blob == 0 and axis.layer in weights]
    return [
        channel
        for channel in channels
        if makes and all(not weights[a.layer][0].take(list(a.indices(channel)), axis=a.axis).any() for a in makes)
    ]


def dead_channels(model: Model, coupled: Coupled, removed: Removed) -> Removed:
    """Those of the channels that go which only filters of zeros make: their constants are what is folded."""
    weights = {name: list(blobs) for name, blobs in model.weights.items()}
    return {number: _dead(weights, coupled.channels.classes[number], channels) for number, channels in removed.items()}


def _run(model: Model, input_shapes: Mapping[str, Shape] | None, folder: Path | None) -> dict[str, np.ndarray]:
    """Every blob of the TEST net for drawn inputs, in double precision."""
    net = Net(model.net, "TEST", input_shapes=input_shapes, folder=folder)
    inputs = valid_inputs(net)
    net.double().load_weights(model.weights)
    with torch.no_grad():
        return {name: value.numpy() for name, value in net.eval().blobs(**inputs).items()}


def _added(
    layer: Any, weight: np.ndarray, axis: Axis, channels: list[int], bottom: np.ndarray
) -> tuple[np.ndarray, bool]:
    """What the constants add to each output of `layer`, and whether that is exact everywhere."""
    indices = [index for channel in channels for index in axis.indices(channel)]
    if layer.type == "InnerProduct":
        flat = bottom.reshape(len(bottom), -1)[:, indices]
        columns = weight.reshape(len(weight), -1)[:, indices].astype(np.float64)
        return columns @ flat[0], bool(np.ptp(flat, axis=0).max(initial=0) == 0)
    group = layer.convolution_param.group
    rows = len(weight) // group
    added, exact = np.zeros(len(weight)), True
    for part in range(group):
        own = weight[part * rows : (part + 1) * rows, indices].astype(np.float64)
        maps = bottom[:, [part * weight.shape[1] + index for index in indices]]
        constant = maps[0].reshape(len(indices), -1)[:, 0]
        exact = exact and bool(np.abs(maps - constant[None, :, None, None]).max(initial=0) == 0)
        exact = exact and not (bool(constant.any()) and _is_padded(layer))
        added[part * rows : (part + 1) * rows] = own.reshape(rows, len(indices), -1).sum(2) @ constant
    return added, exact


def _is_padded(layer: Any) -> bool:
    settings = layer.convolution_param
    return bool(any(settings.pad) or settings.pad_h or settings.pad_w)


def _add_to_bias(layer: Any, blobs: list[np.ndarray], added: np.ndarray) -> None:
    settings = layer.inner_product_param if layer.type == "InnerProduct" else layer.convolution_param
    if len(blobs) < 2:
        settings.bias_term = True
        blobs.append(np.zeros(len(added), blobs[0].dtype))
    blobs[1] = (blobs[1].astype(np.float64) + added).astype(blobs[1].dtype)
