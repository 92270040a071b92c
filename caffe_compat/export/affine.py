"""Layers that do nothing but scale and shift every channel in TEST: what they do, found by running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import WeightsError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.caffe.power import Power
from caffe_compat.layers.caffe.scale_bias import Bias, Scale
from caffe_compat.layers.forks.nvidia_intel.batch_norm import RectifiedBatchNorm, ScaledBatchNorm
from caffe_compat.layers.forks.segmentation.bn import BN


@dataclass(frozen=True)
class Affine:
    """scale * x + shift, float64 (channels,) each; rectified: max(0, ...) of it."""

    scale: np.ndarray
    shift: np.ndarray
    rectified: bool = False


@torch.no_grad()
def affine_of(layer: Layer, bottoms: Sequence[Shape]) -> Affine | str | None:
    """What a layer, in double precision, does to each channel; why it does something else; None for other types.

    Raises WeightsError for blobs that are not finite, and for a BatchNorm whose factor is 0.
    """
    if len(bottoms) != 1 or len(layer.param.top) != 1 or len(bottoms[0]) < 2:
        return None
    reason = _other_deed(layer)
    if reason is None or reason:
        return reason
    for index, blob in enumerate(layer.blobs):
        if not bool(blob.isfinite().all()):
            raise WeightsError(f"layer '{layer.name}': blob {index} has values that are not finite; no fold keeps them")
    if isinstance(layer, BatchNorm) and not isinstance(layer, ScaledBatchNorm) and not bool(layer.blob(2).any()):
        raise WeightsError(
            f"layer '{layer.name}': factor (blob 2) is 0, so that Caffe takes mean and variance as 0; if they are the "
            "statistics themselves, set it to 1 before they are folded"
        )
    probe = torch.zeros(1, bottoms[0][1], *[1] * (len(bottoms[0]) - 2), dtype=torch.float64)
    run: Any = super(RectifiedBatchNorm, layer).forward if isinstance(layer, RectifiedBatchNorm) else layer.forward
    shift, total = (run(value).reshape(-1).numpy() for value in (probe, probe + 1))
    if not (np.isfinite(shift).all() and np.isfinite(total).all()):
        raise WeightsError(f"layer '{layer.name}': its variance is below 0; it cannot be folded")
    rectified = isinstance(layer, RectifiedBatchNorm) and layer.param.batch_norm_param.relu
    return Affine(total - shift, shift, bool(rectified))


def _other_deed(layer: Layer) -> str | None:
    """Empty where a layer scales and shifts channels alone; why it does not; None for types that never do."""
    if isinstance(layer, Power):
        return "" if layer.power == 1 else None
    if isinstance(layer, BN):
        return "" if layer.infers or not layer.two_blobs else "it normalizes by the statistics of its batch"
    if isinstance(layer, BatchNorm):
        return "" if layer.use_global_stats else "it normalizes by the statistics of its batch"
    if isinstance(layer, (Scale, Bias)):
        whole = layer.blob_shapes[0] == () if layer.blob_shapes else False
        channels = bool(layer.blob_shapes) and layer.axis == 1 and len(layer.blob_shapes[0]) == 1
        return "" if whole or channels else "it does not scale or shift whole channels"
    return None
