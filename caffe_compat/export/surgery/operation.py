"""What surgery gives: the rewritten model, and how its inputs correspond to those of the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from caffe_compat.errors import GraphError
from caffe_compat.proto.model import Model
from caffe_compat.proto.pixels import Pixels

Arrays = Mapping[str, np.ndarray]


def same(arrays: Arrays) -> Arrays:
    """Inputs that both models take as they are."""
    return arrays


@dataclass(frozen=True)
class Operation:
    """model: rewritten. to_original: its inputs, by blob -> what the original is fed to give the same blobs.

    what: the rewrite in a line. incomparable: why the blobs of the two cannot be held against each other, or "".
    """

    model: Model
    what: str
    to_original: Callable[[Arrays], Arrays] = same
    incomparable: str = ""


def input_blob(model: Model, blob: str = "") -> str:
    """`blob`, which must be the top of a layer without bottoms; by default the first such top. Raises GraphError."""
    tops = [top for layer in model.net.layer if not layer.bottom for top in layer.top]
    if not tops:
        raise GraphError(f"net '{model.net.name}' has no input")
    if blob and blob not in tops:
        raise GraphError(f"net '{model.net.name}' has no input '{blob}'; its inputs: {', '.join(dict.fromkeys(tops))}")
    return blob or tops[0]


def copied(model: Model) -> Model:
    """A model that may be changed: its message is a copy, its weights are in a dictionary of their own."""
    net = type(model.net)()
    net.CopyFrom(model.net)
    return replace(model, net=net, weights=dict(model.weights), pixels=dict(model.pixels))


def with_pixels(model: Model, blob: str, change: Callable[[Pixels], Pixels | None]) -> Model:
    """`model` with what it tells of the pixels of `blob` changed, or left out where nothing true can be told."""
    changed = change(model.pixels[blob]) if blob in model.pixels else None
    others = {name: each for name, each in model.pixels.items() if name != blob}
    return replace(model, pixels={**others, blob: changed} if changed else others)
