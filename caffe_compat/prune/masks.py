"""The masked net that a narrower one is compared with: the same layers, with what goes set to 0."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from caffe_compat.proto.model import Model
from caffe_compat.prune.constants import Removed
from caffe_compat.prune.narrow import Coupled
from caffe_compat.prune.owners import owns_weights


def cut_off(model: Model, coupled: Coupled, removed: Removed) -> Model:
    """`model` whose readers do not read the channels that go: what the narrower net computes, exactly."""
    weights = {name: [np.array(blob) for blob in blobs] for name, blobs in model.weights.items()}
    for number, channels in removed.items():
        for axis in coupled.channels.classes[number].consumers:
            if axis.layer in weights:
                blob = weights[axis.layer][axis.blob]
                places = [index for channel in channels for index in axis.indices(channel)]
                np.moveaxis(blob, axis.axis, 0)[places] = 0
    return Model(model.net, {name: tuple(blobs) for name, blobs in weights.items()})


def silence(model: Model, filters: Mapping[str, Collection[int]]) -> Model:
    """`model` whose `filters`, {layer: numbers}, and the Scale or bias behind them are 0, at full width.

    For the last convolution and the shortcut of a residual block, whose width others share: OrthoReg's rewriting.
    """
    weights = {name: [np.array(blob) for blob in blobs] for name, blobs in model.weights.items()}
    readers = {bottom: layer for layer in reversed(model.net.layer) for bottom in layer.bottom}
    for layer in model.net.layer:
        places = list(filters.get(layer.name, ()))
        if not places or not owns_weights(layer):
            continue
        for blob in weights[layer.name]:
            blob[places] = 0
        behind = readers.get(layer.top[0])
        while behind is not None and behind.type in ("BatchNorm", "Scale"):
            if behind.type == "Scale":
                for blob in weights[behind.name]:
                    blob[places] = 0
                break
            after = readers.get(behind.top[0])
            behind = None if after is behind else after
    return Model(model.net, {name: tuple(blobs) for name, blobs in weights.items()})
