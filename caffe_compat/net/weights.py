"""Arrays in and out of the layers of a net, by layer name (net.cpp, CopyTrainedLayersFrom, ShareTrainedLayersWith)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import WeightsError
from caffe_compat.layers.base import Layer, Shape


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, by layer name.

    copied: took the given blobs. ignored: given, but not in the net. missing: in the net with blobs, but not given.
    """

    copied: tuple[str, ...]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]


def copy_weights(layers: Mapping[str, Layer], weights: Mapping[str, Sequence[Any]]) -> LoadReport:
    """Copy `weights` into the layers of the same names, after all of them were found to fit.

    Shapes must be equal; an array of 4 axes also fits a blob whose shape it has after 1s in front, as in files of
    old Caffe. WeightsError otherwise, and nothing is copied.
    """
    arrays = {name: [np.asarray(blob) for blob in blobs] for name, blobs in weights.items() if name in layers}
    for name, blobs in arrays.items():
        _check(layers[name], blobs)
    with torch.no_grad():
        for name, blobs in arrays.items():
            for index, blob in enumerate(blobs):
                _copy(layers[name].blob(index), blob)
    return LoadReport(
        copied=tuple(arrays),
        ignored=tuple(name for name in weights if name not in layers),
        missing=tuple(name for name, layer in layers.items() if len(layer.blobs) and name not in arrays),
    )


def arrays_of(layer: Layer) -> tuple[np.ndarray, ...]:
    """Copies of the blobs of `layer`, float32, each in the shape in which the layer sees it."""
    return tuple(layer.blob(i).detach().to("cpu", torch.float32, copy=True).numpy() for i in range(len(layer.blobs)))


def share_blobs(layers: Mapping[str, Layer], others: Mapping[str, Layer]) -> None:
    """Make the layers use the very Parameters of the layers of the same names in `others`; WeightsError on a misfit."""
    common = {name: layer for name, layer in layers.items() if name in others}
    for name, layer in common.items():
        _check_shapes(layer, others[name].blob_shapes)
    for name, layer in common.items():
        for index in range(len(layer.blobs)):
            layer.blobs[index] = others[name].blobs[index]


def _check(layer: Layer, arrays: Sequence[np.ndarray]) -> None:
    shapes = [_legacy_fit(array.shape, wanted) for array, wanted in zip(arrays, layer.blob_shapes, strict=False)]
    _check_shapes(layer, shapes + [array.shape for array in arrays[len(shapes) :]])


def _legacy_fit(found: Shape, wanted: Shape) -> Shape:
    """`wanted` where `found` is its form with num, channels, height and width (blob.cpp, ShapeEquals)."""
    is_legacy = len(found) == 4 and len(wanted) <= 4 and found == (1,) * (4 - len(wanted)) + tuple(wanted)
    return wanted if is_legacy else found


def _check_shapes(layer: Layer, found: Sequence[Shape]) -> None:
    if len(found) != len(layer.blob_shapes):
        raise WeightsError(
            f"cannot copy layer '{layer.name}': source has {len(found)} blobs, target has {len(layer.blob_shapes)}; "
            "rename the layer to learn it from scratch"
        )
    for index, (shape, wanted) in enumerate(zip(found, layer.blob_shapes, strict=True)):
        if tuple(shape) != tuple(wanted):
            raise WeightsError(
                f"cannot copy blob {index} of layer '{layer.name}': source is {tuple(shape)}, target is {tuple(wanted)}; "
                "rename the layer to learn it from scratch"
            )


def _copy(target: Tensor, source: np.ndarray) -> None:
    values = torch.from_numpy(np.require(source, requirements=["C", "W"]))
    target.copy_(values.reshape(target.shape))
