"""Layers of Caffe's own that only scale and shift every channel in TEST: what they do, found by running them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.caffe.power import Power
from caffe_compat.layers.caffe.scale_bias import Bias, Scale

OTHER_CHANNELS = "it does not scale or shift whole channels"
OWN_STATISTICS = "it normalizes by the statistics of its batch"


@dataclass(frozen=True)
class Affine:
    """scale * x + shift, float64 (channels,) each; rectified: max(0, ...) of it."""

    scale: np.ndarray
    shift: np.ndarray
    rectified: bool = False


def other_deed(layer: Layer) -> str | None:
    """Empty where a layer scales and shifts channels alone; why it does not; None for types that never do."""
    if isinstance(layer, Power):
        return "" if layer.power == 1 else None
    if isinstance(layer, BatchNorm):
        return "" if layer.use_global_stats else OWN_STATISTICS
    if isinstance(layer, (Scale, Bias)):
        whole = layer.blob_shapes[0] == () if layer.blob_shapes else False
        channels = bool(layer.blob_shapes) and layer.axis == 1 and len(layer.blob_shapes[0]) == 1
        return "" if whole or channels else OTHER_CHANNELS
    return None


@torch.no_grad()
def run_on_channels(run: Any, bottom: Shape) -> Affine:
    """The Affine that `run`, of a layer in double precision, is for bottoms of this shape."""
    probe = torch.zeros(1, bottom[1], *[1] * (len(bottom) - 2), dtype=torch.float64)
    shift, total = (run(value).reshape(-1).numpy() for value in (probe, probe + 1))
    return Affine(total - shift, shift)


def caffes_affine(layer: Layer, bottoms: Sequence[Shape]) -> Affine | None:
    """What a layer of one of these types does; None for others, and where its numbers are not finite."""
    if type(layer) not in (BatchNorm, Scale, Bias, Power) or len(bottoms) != 1 or len(bottoms[0]) < 2:
        return None
    if other_deed(layer) != "":
        return None
    found = run_on_channels(copy.deepcopy(layer).cpu().double(), bottoms[0])
    return found if np.isfinite(found.scale).all() and np.isfinite(found.shift).all() else None
