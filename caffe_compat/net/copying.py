"""A net pickled and copied: its message, its values and what its layers remember, from which another is built.

Messages and fx graphs do not survive that by themselves. Hooks are not copied, nor are attributes that others set.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from caffe_compat.layers.source import SourceLayer
from caffe_compat.proto.schema import NetParameter

if TYPE_CHECKING:
    from caffe_compat.net.net import Net


def reduced(net: Net, options: dict[str, Any], place: torch.Tensor) -> tuple[Any, ...]:
    """What `Net.__reduce__` gives. options: further arguments of the net; place: a tensor of its device and type."""
    state, layers = net.graph.state, [layer for _, layer in net.steps]
    settings = {"phase": net.graph.phase, "level": state.level, "stages": list(state.stage), **options}
    facts = {
        "blobs": {name: [(blob.detach(), blob.requires_grad) for blob in blobs] for name, blobs in net.params.items()},
        "remembered": [{name: getattr(layer, name) for name in layer.remembers} for layer in layers],
        "cursors": [layer.cursor if isinstance(layer, SourceLayer) else 0 for layer in layers],
        "training": net.training,
        "own": {"pixels": net.pixels, "load_report": net.load_report},
    }
    return restored, (type(net), net.param.SerializeToString(), settings, facts, place)


def restored(
    kind: type[Net], message: bytes, settings: dict[str, Any], facts: dict[str, Any], place: torch.Tensor
) -> Net:
    """The net that `reduced` was given, as another."""
    net = kind(NetParameter.FromString(message), **settings).to(device=place.device, dtype=place.dtype)
    with torch.no_grad():
        for name, blobs in facts["blobs"].items():
            for blob, (value, learns) in zip(net.params[name], blobs, strict=True):
                blob.copy_(value)
                blob.requires_grad_(learns)
    for (_, layer), found, cursor in zip(net.steps, facts["remembered"], facts["cursors"], strict=True):
        for name, value in found.items():
            setattr(layer, name, copy.deepcopy(value))  # copy.copy gives it as it is
        if isinstance(layer, SourceLayer):
            layer.seek(cursor)
    for name, value in facts["own"].items():
        setattr(net, name, value)
    return net.train(facts["training"])
