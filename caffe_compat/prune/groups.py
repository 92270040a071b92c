"""Grouped convolutions that lose whole groups, inputs and outputs, where others lose the same places of every group."""

from __future__ import annotations

import numpy as np

from caffe_compat.proto.model import Model
from caffe_compat.prune.owners import owners

GROUPED = ("Convolution", "Deconvolution")


def groups_of_zeros(model: Model) -> list[str]:
    """The layers of which more is 0 in whole groups, as Group Fisher leaves it, than at equal places of all groups."""
    found = []
    for name, layer in owners(model.net.layer).items():
        if layer.type not in GROUPED or layer.convolution_param.group < 2 or name not in model.weights:
            continue
        weight = np.asarray(model.weights[name][0])
        groups = int(layer.convolution_param.group)
        alive = (weight.reshape(groups, -1, weight[0].size) != 0).any(axis=2)
        whole, places = (int((~alive.any(axis=along)).sum()) for along in (1, 0))
        if 0 < whole * alive.shape[1] > places * groups:
            found.append(name)
    return found


def groups_that_went(original: Model, pruned: Model) -> list[str]:
    """The layers that have fewer groups than in the original."""
    left = owners(pruned.net.layer)
    return [
        name
        for name, layer in owners(original.net.layer).items()
        if layer.type in GROUPED and name in left
        if left[name].convolution_param.group < layer.convolution_param.group
    ]
