"""The shapes of what a net's data layers give, as far as its message tells where the data itself is not here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import CaffeCompatError, DataError, GraphError
from caffe_compat.graph.graph import Graph, build_graph
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.registry import create_layer, known_types, loss_types
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.net.weights import misfits
from caffe_compat.proto.model import Model
from caffe_compat.showing import nearest

USUAL_SIZES = (28, 32, 24, 48, 64, 96, 112, 128, 160, 192, 224, 227, 256, 299, 300, 320, 321, 384, 416, 512)

_SETTINGS = ("data_param", "image_data_param", "hdf5_data_param", "memory_data_param", "window_data_param")


def refuse_unknown_inputs(models: Sequence[Model], given: Iterable[str]) -> None:
    """GraphError where a shape is given for a blob that no layer without bottoms makes, in any phase of any model."""
    tops = [top for model in models for layer in model.net.layer if not layer.bottom for top in layer.top]
    for name in given:
        if name not in tops:
            hint = nearest(name, tops, "its inputs")
            raise GraphError(f"net '{models[0].net.name}' has no input '{name}'; {hint}")


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


def shapes_of_source(model: Model, param: Any, context: Context) -> dict[str, Shape]:
    """The shapes that the tops of the data layer `param` have, by name; empty where neither data nor net tells.

    Where its data is not here: as its message says; as that of the data layer of the other phase says; or the one
    usual size of images for which the weights fit.
    """
    shapes: Sequence[Shape] = []
    if param.type in known_types():
        layer = create_layer(param, context)
        if isinstance(layer, SourceLayer):
            shapes = declared_shapes(layer)
    shapes = shapes or stated_shapes(param, model.net.layer, model.weights) or twin_shapes(param, model)
    if not shapes:
        graph = build_graph(model.net, context.phase, loss_types=loss_types())
        shapes = fitting_shapes(graph, param, model.weights, context, only=True)
    return dict(zip(param.top, shapes, strict=False))


def twin_shapes(param: Any, model: Model) -> list[Shape]:
    """`stated_shapes` of the data layer that makes the blobs of `param` in the other phase, with its own batch."""
    settings = _settings(param)
    if settings is None:
        return []
    twins = [other for other in model.net.layer if not other.bottom and list(other.top) == list(param.top)]
    stated = (stated_shapes(twin, model.net.layer, model.weights) for twin in twins)
    return [(settings.batch_size, *shape[1:]) for shape in next(filter(None, stated), [])]


def declared_shapes(layer: SourceLayer) -> Sequence[Shape]:
    """What a source itself says of its tops; empty where its data is not here."""
    try:
        layer.setup([])
        return layer.top_shapes([])
    except DataError:
        return []
    finally:
        layer.close()


def fitting_shapes(
    graph: Graph, param: Any, weights: Mapping[str, Sequence[np.ndarray]], context: Context, only: bool = False
) -> list[Shape]:
    """The shape of every top of the data layer `param` for square images of a usual size, whichever fits best.

    That is the first of those sizes for which the fewest blobs of `weights` have another shape than their layer wants;
    with `only`, the one size for which all fit, and nothing where several do. Empty where no InnerProduct tells one
    size from another, or where the net cannot be built with any.
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
        if not fits[size] and not only:
            break
    best = min(fits, key=lambda size: fits[size], default=0)
    if not best or (only and [*fits.values()].count(0) != 1):
        return []
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
