"""The constants of channels that only filters of zeros make, folded into the biases of their readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.graph.channels import Axis, ChannelClass
from caffe_compat.layers.base import Shape
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model
from caffe_compat.prune.owners import owners

Weights = dict[str, list[np.ndarray]]
Removed = dict[int, list[int]]  # number of a class -> its channels that go


def fold_constants(
    model: Model,
    net: Any,
    weights: Weights,
    classes: Sequence[ChannelClass],
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


def dead_channels(model: Model, classes: Sequence[ChannelClass], removed: Removed) -> Removed:
    """Those of the channels that go which only filters of zeros make: their constants are what is folded."""
    weights = {name: list(blobs) for name, blobs in model.weights.items()}
    return {number: _dead(weights, classes[number], channels) for number, channels in removed.items()}


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
