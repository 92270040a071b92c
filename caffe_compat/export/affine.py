"""What layers that scale and shift every channel do, the forks' too, with a word on those that cannot be folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from caffe_compat.errors import WeightsError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.forks.nvidia_intel.batch_norm import RectifiedBatchNorm, ScaledBatchNorm
from caffe_compat.layers.forks.segmentation.bn import BN
from caffe_compat.net.channelwise import OWN_STATISTICS, Affine, other_deed, run_on_channels


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
    run: Any = super(RectifiedBatchNorm, layer).forward if isinstance(layer, RectifiedBatchNorm) else layer.forward
    found = run_on_channels(run, bottoms[0])
    if not (np.isfinite(found.scale).all() and np.isfinite(found.shift).all()):
        raise WeightsError(f"layer '{layer.name}': its variance is below 0; it cannot be folded")
    rectified = isinstance(layer, RectifiedBatchNorm) and layer.param.batch_norm_param.relu
    return replace(found, rectified=bool(rectified))


def _other_deed(layer: Layer) -> str | None:
    """As `other_deed`, of the forks' types too."""
    if isinstance(layer, BN):
        return "" if layer.infers or not layer.two_blobs else OWN_STATISTICS
    return other_deed(layer)
