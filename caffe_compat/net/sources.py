"""The shapes of what a net's data layers give, as far as its message tells where the data itself is not here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.graph import Graph
from caffe_compat.layers.base import Context, Shape
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.net.weights import misfits

USUAL_SIZES = (28, 32, 24, 48, 64, 96, 112, 128, 160, 192, 224, 227, 256, 299, 300, 320, 321, 384, 416, 512)

_SETTINGS = ("data_param", "image_data_param", "hdf5_data_param", "memory_data_param", "window_data_param")


def stated_shapes(param: Any, layers: Iterable[Any], weights: Mapping[str, Sequence[np.ndarray]]) -> list[Shape]:
    """The shape of every top of the data layer `param`: images first, then labels; empty where it cannot be told.

    The batch is its batch_size; height and width are crop_size, new_height and new_width, or height and width; the
    channels are those that the weights of the first of `layers` to read the images take, else one a mean_value, else
    those of the files' is_color. HDF5 files say nothing of their shapes.
    """
    settings = _settings(param)
    if settings is None:
        return []
    height, width = _plane(param, settings)
    channels = _channels(param, settings, layers, weights)
    if not (height and width and channels):
        return []
    return _of_tops(param, settings.batch_size, channels, height, width)


def fitting_shapes(
    graph: Graph, param: Any, weights: Mapping[str, Sequence[np.ndarray]], context: Context
) -> list[Shape]:
    """The shape of every top of the data layer `param` for square images of a usual size, whichever fits best.

    That is the first of those sizes for which the fewest blobs of `weights` have another shape than their layer wants.
    Empty where no InnerProduct tells one size from another, or where the net cannot be built with any.
    """
    settings = _settings(param)
    types = {node.name: node.param.type for node in graph.nodes}
    channels = 0 if settings is None else _channels(param, settings, [node.param for node in graph.nodes], weights)
    told = any(kind == "InnerProduct" and name in weights for name, kind in types.items())
    if not channels or not told or "Python" in types.values():
        return []
    fits: dict[int, int] = {}
    for size in USUAL_SIZES:
        shapes = _of_tops(param, settings.batch_size, channels, size, size)
        try:
            with torch.device("meta"):
                layers, _ = set_up_layers(graph, context, dict(zip(param.top, shapes, strict=True)))
        except CaffeCompatError:
            continue
        found = {layer.name: [blob.shape for blob in weights.get(layer.name, ())] for layer in layers}
        fits[size] = sum(len(list(misfits(layer, found[layer.name]))) for layer in layers if found[layer.name])
        if not fits[size]:
            break
    if not fits:
        return []
    best = min(fits, key=lambda size: fits[size])
    return _of_tops(param, settings.batch_size, channels, best, best)


def _settings(param: Any) -> Any:
    """The message of a data layer that has its batch_size; None where no size of images follows from it."""
    found = next((getattr(param, name) for name in _SETTINGS if param.HasField(name)), None)
    return None if found is None or not found.batch_size or param.type == "HDF5Data" else found


def _of_tops(param: Any, batch: int, channels: int, height: int, width: int) -> list[Shape]:
    return [(batch, channels, height, width), *[(batch,)] * (len(param.top) - 1)]


def _plane(param: Any, settings: Any) -> tuple[int, int]:
    crop = param.transform_param.crop_size or getattr(settings, "crop_size", 0)
    if crop:
        return crop, crop
    for height, width in (("new_height", "new_width"), ("height", "width")):
        if getattr(settings, height, 0) and getattr(settings, width, 0):
            return getattr(settings, height), getattr(settings, width)
    return 0, 0


def _channels(param: Any, settings: Any, layers: Iterable[Any], weights: Mapping[str, Sequence[np.ndarray]]) -> int:
    for layer in layers:
        if param.top and param.top[0] in layer.bottom and layer.type == "Convolution" and weights.get(layer.name):
            return int(weights[layer.name][0].shape[1] * layer.convolution_param.group)
    if param.type == "MemoryData":
        return int(settings.channels)
    if len(param.transform_param.mean_value) > 1:
        return len(param.transform_param.mean_value)
    return (3 if settings.is_color else 1) if param.type == "ImageData" else 0
