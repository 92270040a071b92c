"""Batch normalization that starts anew, as EPruner's authors leave it behind the layers that they cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from caffe_compat.proto.model import Model
from caffe_compat.prune.owners import owns_weights


def reset_normalization(model: Model, layers: Collection[str]) -> Model:
    """`model` with mean 0, variance 1, gamma 1 and beta 0 in the BatchNorm and Scale behind each of `layers`."""
    weights = dict(model.weights)
    every = list(model.net.layer)
    for layer in every:
        if layer.name not in layers or not owns_weights(layer):
            continue
        behind, seen = _reader(every, layer), set[str]()
        while behind is not None and behind.type in ("BatchNorm", "Scale") and behind.name not in seen:
            seen.add(behind.name)
            fresh = [np.zeros_like(blob) for blob in weights[behind.name]]
            ones = (1, 2) if behind.type == "BatchNorm" else (0,)
            for place in ones:
                if place < len(fresh):
                    fresh[place][...] = 1
            weights[behind.name] = tuple(fresh)
            behind = _reader(every, behind)
    return Model(model.net, weights)


def _reader(every: Sequence[Any], layer: Any) -> Any:
    """The first layer behind `layer` that reads its top; layers in place come in their order."""
    place = next(number for number, each in enumerate(every) if each is layer)
    return next((each for each in every[place + 1 :] if layer.top[0] in each.bottom), None)
