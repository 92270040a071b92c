"""Mean and scale of a data layer as layers of the net that is deployed, with the data layer's own roundings.

Given:                                              Result:
    # pixels of 'data': {"mean": [104], "scale": 0.5}   layer { name: "data" type: "Input" top: "data" ... }
    layer { name: "data" type: "Input" top: "data" }    layer { name: "data_mean" type: "Bias" ... top: "data_mean" }
    layer { name: "c" ... bottom: "data" top: "c" }     layer { name: "data_scale" type: "Scale" ... top: "data_scale" }
                                                        layer { name: "c" ... bottom: "data_scale" top: "c" }
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.data.transform import read_mean
from caffe_compat.errors import DataError, GraphError
from caffe_compat.proto.files import find_file
from caffe_compat.proto.model import Model, ModelLike, as_model
from caffe_compat.proto.pixels import Pixels, pixels_of_layer
from caffe_compat.proto.schema import LayerParameter, NetParameter


def with_preprocessing(model: ModelLike, folder: Path | None = None) -> Model:
    """The model with what `model.pixels` says of its Inputs as layers: Bias of -mean, then Scale, as far as they act.

    (pixel + -mean) * scale is (pixel - mean) * scale to the last bit. Of a mean image the part that the crop at the
    centre leaves is taken. folder: where a mean's file is also looked for. Raises GraphError where nothing is known of
    any Input, DataError for a mean that is missing or does not fit.
    """
    model = as_model(model)
    sizes = _inputs(model.net)
    known = {blob: pixels for blob, pixels in model.pixels.items() if blob in sizes}
    sources = [blob for blob in pixels_of(model) if blob not in sizes]
    if sources:
        raise GraphError(
            f"net '{model.net.name}': a data layer makes '{sources[0]}'; deploy the net first, which makes it an "
            "Input: caffe-compat deploy NET --with-preprocessing"
        )
    if not known:
        raise GraphError(
            f"net '{model.net.name}': nothing is known of its pixels; its data layer, or a comment such as "
            f'"{Pixels((104.0,), scale=0.5).comment("data")}" in its prototxt, would tell'
        )
    for blob, pixels in known.items():
        model = _prepared(model, blob, pixels, sizes[blob], folder)
    return model


def pixels_of(model: Model) -> dict[str, Pixels]:
    """What the images of every input go through first: as the data layer says that stands for it, or a comment."""
    own = {layer.top[0]: pixels_of_layer(layer) for layer in model.net.layer if not layer.bottom and layer.top}
    return {**model.pixels, **{blob: pixels for blob, pixels in own.items() if pixels is not None}}


def _inputs(net: Any) -> dict[str, list[int]]:
    """The declared size of every top of an Input."""
    found: dict[str, list[int]] = {}
    for layer in (layer for layer in net.layer if layer.type == "Input"):
        shapes = [list(shape.dim) for shape in layer.input_param.shape]
        found.update(zip(layer.top, shapes * len(layer.top) if len(shapes) == 1 else shapes, strict=False))
    return found


def _prepared(model: Model, blob: str, pixels: Pixels, size: list[int], folder: Path | None) -> Model:
    if not pixels.changes:
        return model
    if len(size) < 2:
        raise DataError(f"input '{blob}' is {tuple(size)}; images are (batch, channels, height, width)")
    taken = {name for layer in model.net.layer for name in (layer.name, *layer.top)}
    layers, blobs = [], []
    mean = _mean(pixels, blob, size, folder)
    if mean is not None:
        layers.append(LayerParameter(name=_free(f"{blob}_mean", taken), type="Bias"))
        layers[-1].bias_param.axis, layers[-1].bias_param.num_axes = 1, mean.ndim
        blobs.append(-mean)
    if pixels.scale != 1:
        layers.append(LayerParameter(name=_free(f"{blob}_scale", taken), type="Scale"))
        layers[-1].scale_param.axis, layers[-1].scale_param.num_axes = 1, 1
        blobs.append(np.full(size[1], pixels.scale, np.float32))
    last = blob
    for layer in layers:
        layer.bottom.append(last)
        layer.top.append(layer.name)
        layer.param.add(lr_mult=0, decay_mult=0)
        last = layer.name
    weights = {layer.name: (values,) for layer, values in zip(layers, blobs, strict=True)}
    said = {**model.pixels, blob: Pixels(order=pixels.order)}
    return replace(model, net=_with_layers(model.net, blob, layers), weights={**weights, **model.weights}, pixels=said)


def _mean(pixels: Pixels, blob: str, size: list[int], folder: Path | None) -> np.ndarray | None:
    """float32 (channels,), or (channels, height, width) as the crop leaves it."""
    if pixels.mean:
        if len(pixels.mean) not in (1, size[1]):
            raise DataError(f"input '{blob}': {len(pixels.mean)} mean values for {size[1]} channels; give 1 or as many")
        return np.resize(np.array(pixels.mean, np.float32), size[1])
    if not pixels.mean_file:
        return None
    image = read_mean(find_file(pixels.mean_file, folder, named_by=f"input '{blob}'")).transpose(2, 0, 1)
    if pixels.crop:
        top, left = ((extent - pixels.crop) // 2 for extent in image.shape[1:])
        if min(top, left) < 0:
            raise DataError(f"{pixels.mean_file}: is {image.shape[1:]}, smaller than the crop of {pixels.crop}")
        image = image[:, top : top + pixels.crop, left : left + pixels.crop]
    if list(image.shape) != size[1:]:
        raise DataError(f"{pixels.mean_file}: the mean image is {image.shape}, input '{blob}' takes {tuple(size[1:])}")
    return np.ascontiguousarray(image, np.float32)


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _with_layers(net: Any, blob: str, layers: list[Any]) -> Any:
    """A copy of `net` with `layers` behind the Input of `blob`; what used `blob` uses the top of the last."""
    made = NetParameter()
    made.CopyFrom(net)
    made.ClearField("layer")
    behind = False
    for original in net.layer:
        layer = made.layer.add()
        layer.CopyFrom(original)
        if behind:
            for names in (layer.bottom, layer.top):
                names[:] = [layers[-1].name if name == blob else name for name in names]
        elif blob in layer.top:
            made.layer.extend(layers)
            behind = True
    return made
