"""Batches of a net's own data, without running the net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import DataError
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.net import Net


def own_batches(
    net: Any, count: int, phase: str = "TRAIN", compat: str = "bvlc", folder: Path | None = None
) -> list[dict[str, np.ndarray]]:
    """The first `count` batches, {blob: array}, that the data layers of a NetParameter give in `phase`.

    folder: where the net's file lies. Raises DataError where the net has no data of its own in that phase.
    """
    if count < 1:
        raise DataError(f"{count} batches: must be 1 or more")
    only = type(net)()
    only.CopyFrom(net)
    del only.layer[:]
    only.layer.extend(layer for layer in net.layer if not layer.bottom)
    steps = Net(only, phase, compat=compat, folder=folder).steps if only.layer else []
    sources = [layer for _, layer in steps if isinstance(layer, SourceLayer) and not layer.fed]
    if not sources:
        raise DataError(f"net '{net.name}' has no data layer in phase {phase}; name a net that has one")
    try:
        return [{top: value.numpy() for layer in sources for top, value in _batch(layer).items()} for _ in range(count)]
    finally:
        for layer in sources:
            layer.close()


def _batch(layer: SourceLayer) -> dict[str, Any]:
    return dict(zip(layer.param.top, layer.next_batch(), strict=True))
