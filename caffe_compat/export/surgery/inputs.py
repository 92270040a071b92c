"""Another input: channels in another order or joined into one, mean and scale inside, another size.

Symbols: x the input that the net took, x' the one that it takes afterwards, w and b a first layer's weight and bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from caffe_compat.errors import GraphError, ShapeError
from caffe_compat.export.surgery.operation import Arrays, Operation, copied, input_blob, recorded, with_pixels
from caffe_compat.net.cost import layers_with_shapes
from caffe_compat.proto.model import Model
from caffe_compat.proto.pixels import Pixels

_FIRST = ("Convolution", "InnerProduct")


@recorded
def swap_channels(model: Model, order: Sequence[int] = (2, 1, 0), blob: str = "") -> Operation:
    """x' has channel order[i] of x as channel i: a net for BGR images takes RGB with the default order.

    The weights of all first layers are permuted alike, which is exact. Raises GraphError where anything but a
    Convolution without groups or an InnerProduct reads the input.
    """
    made, name = copied(model), input_blob(model, blob)
    channels = len(order)
    if sorted(order) != list(range(channels)):
        raise ShapeError(f"order {list(order)}: each channel from 0 to {channels - 1} must stand there once")
    for layer in _readers(made, name):
        _rewrite(made, layer, channels, lambda weight: weight[:, list(order)])
    back = list(np.argsort(order))

    def to_original(arrays: Arrays) -> Arrays:
        return {**arrays, name: np.ascontiguousarray(arrays[name][:, back])}

    def told(pixels: Pixels) -> Pixels | None:
        known = list(order) == [2, 1, 0] and pixels.order in ("bgr", "rgb") and not pixels.mean_file
        mean = tuple(pixels.mean[each] for each in order) if len(pixels.mean) == channels else pixels.mean
        return replace(pixels, mean=mean, order="rgb" if pixels.order == "bgr" else "bgr") if known else None

    what = f"channels of '{name}' in the order {list(order)}"
    return Operation(with_pixels(made, name, told), what, to_original)


@recorded
def join_channels(model: Model, channels: int = 3, blob: str = "") -> Operation:
    """x' has one channel, which stands for all `channels` of x: grey images for a net of colour ones.

    The weights of the channels are summed, which is what the net computes of x = (x', x', x').
    """
    made, name = copied(model), input_blob(model, blob)
    for layer in _readers(made, name):
        _rewrite(made, layer, channels, lambda weight: weight.sum(axis=1, keepdims=True))
    _resize_inputs(made, name, lambda shape: (shape[0], 1, *shape[2:]))

    def to_original(arrays: Arrays) -> Arrays:
        return {**arrays, name: np.repeat(arrays[name], channels, axis=1)}

    def told(pixels: Pixels) -> Pixels | None:
        same = len(set(pixels.mean)) <= 1 and not pixels.mean_file
        return replace(pixels, mean=pixels.mean[:1], order="grey") if same else None

    what = f"the {channels} channels of '{name}' joined into one"
    return Operation(with_pixels(made, name, told), what, to_original)


@recorded
def fold_scaling(model: Model, mean: Sequence[float] = (0.0,), scale: float = 1.0, blob: str = "") -> Operation:
    """x = scale (x' - mean), computed by the first layers: w' = scale w, b' = b - sum of scale w mean.

    mean: one value a channel, or one for all. A first layer without a bias gets one. Raises GraphError for a padded
    Convolution where a mean is not 0: its zeros would stand for the mean no more.
    """
    made, name = copied(model), input_blob(model, blob)
    values = np.asarray(mean, np.float64)
    for layer in _readers(made, name):
        if values.any() and layer.type == "Convolution" and _is_padded(layer.convolution_param):
            raise GraphError(
                f"layer '{layer.name}' pads its bottom with zeros, which a mean inside its bias would no longer be; "
                "use `caffe-compat deploy --with-preprocessing`"
            )
        _fold(made, layer, values, scale)

    def to_original(arrays: Arrays) -> Arrays:
        x = arrays[name]
        return {**arrays, name: ((x - values.reshape(-1, *[1] * (x.ndim - 2))) * scale).astype(np.float32)}

    what = f"mean {list(map(float, values))} and scale {scale:g} of '{name}' in the weights"

    def told(pixels: Pixels) -> Pixels | None:
        means = np.resize(pixels.mean or (0.0,), max(len(pixels.mean), values.size))
        folded = np.allclose(means, np.resize(values, means.size)) and np.isclose(pixels.scale, scale)
        return replace(pixels, mean=(), scale=1.0) if folded and not pixels.mean_file else None

    return Operation(with_pixels(made, name, told), what, to_original)


@recorded
def resize_input(model: Model, size: Sequence[int], blob: str = "") -> Operation:
    """The Input `blob` with height and width `size`.

    Raises GraphError where the net declares no such shape, and where a layer would need weights of another size, as an
    InnerProduct does; behind `fully_convolutional` it slides over the larger map instead.
    """
    made, name = copied(model), input_blob(model, blob)

    def resized(shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) > 2 and (len(size) != len(shape) - 2 or min(size) < 1):
            found = ",".join(map(str, size))
            raise GraphError(
                f"size {found} is none for '{name}' of shape {shape}: wanted {len(shape) - 2} numbers from 1, of the "
                "axes behind batch and channels"
            )
        return (*shape[:2], *size)

    _resize_inputs(made, name, resized)
    shown = " x ".join(map(str, size))
    before, after = ([each for each, _, _ in layers_with_shapes(net)] for net in (model, made))
    for old, new in zip(before, after, strict=True):
        if old.name in made.weights and old.blob_shapes != new.blob_shapes:
            raise GraphError(
                f"layer '{new.name}' ({new.param.type}) has weights for one size of '{name}': {shown} would need "
                f"{new.blob_shapes[0]} for {old.blob_shapes[0]}; make the net fully convolutional first"
            )
    return Operation(made, f"'{name}' is {shown}", incomparable=f"'{name}' has another size")


def _readers(model: Model, blob: str) -> list[Any]:
    found = [layer for layer in model.net.layer if blob in layer.bottom]
    if not found:
        raise GraphError(f"net '{model.net.name}': no layer reads '{blob}'")
    for layer in found:
        grouped = layer.type == "Convolution" and layer.convolution_param.group != 1
        if layer.type not in _FIRST or grouped:
            kind = f"{layer.type} with groups" if grouped else layer.type
            raise GraphError(
                f"layer '{layer.name}' ({kind}) reads '{blob}'; only Convolution without groups and InnerProduct can "
                "take over what its input was"
            )
        if any(spec.name for spec in layer.param):
            raise GraphError(f"layer '{layer.name}': its weights are shared; give it its own first")
    return found


def _by_channel(layer: Any, weight: np.ndarray, channels: int) -> np.ndarray:
    """A weight with its channels on axis 1: a Convolution's as it is, (outputs, channels, rest) of an InnerProduct."""
    if layer.type == "Convolution":
        found = weight.shape[1]
        if found != channels:
            raise ShapeError(f"layer '{layer.name}' reads {found} channels, not {channels}")
        return weight
    rows = weight.T if layer.inner_product_param.transpose else weight
    if rows.shape[1] % channels:
        raise ShapeError(f"layer '{layer.name}' reads {rows.shape[1]} values, which are not {channels} channels")
    return rows.reshape(len(rows), channels, -1)


def _rewrite(model: Model, layer: Any, channels: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put the changed weight, with channels on axis 1, in the place of the layer's, in the layer's own layout."""
    blobs = model.weights.get(layer.name, ())
    if not blobs:
        return
    weight = np.asarray(blobs[0])
    weight = weight.reshape(weight.shape[-2:]) if layer.type == "InnerProduct" else weight
    changed = change(_by_channel(layer, weight, channels))
    if layer.type == "InnerProduct":
        changed = changed.reshape(len(changed), -1)
        changed = changed.T if layer.inner_product_param.transpose else changed
    model.weights[layer.name] = (np.ascontiguousarray(changed, np.float32), *blobs[1:])


def _fold(model: Model, layer: Any, mean: np.ndarray, scale: float) -> None:
    fields = layer.convolution_param if layer.type == "Convolution" else layer.inner_product_param
    blobs = model.weights.get(layer.name, ())
    if blobs:
        weight = np.asarray(blobs[0], np.float64)
        weight = weight.reshape(weight.shape[-2:]) if layer.type == "InnerProduct" else weight
        channels = len(mean) if len(mean) > 1 else weight.shape[1] if layer.type == "Convolution" else 1
        parts = _by_channel(layer, weight, channels)
        taken = scale * np.tensordot(parts.reshape(*parts.shape[:2], -1).sum(axis=2), np.resize(mean, channels), 1)
        bias = np.asarray(blobs[1], np.float64).reshape(-1) if fields.bias_term else np.zeros(len(taken))
        scaled = np.asarray(np.asarray(blobs[0], np.float64) * scale, np.float32)
        model.weights[layer.name] = (scaled, np.asarray(bias - taken, np.float32))
    if mean.any() and not fields.bias_term:
        fields.ClearField("bias_term")
    elif blobs and not fields.bias_term:
        model.weights[layer.name] = model.weights[layer.name][:1]


def _is_padded(fields: Any) -> bool:
    return any(fields.pad) or bool(fields.pad_h or fields.pad_w)


def _resize_inputs(model: Model, blob: str, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> None:
    for layer in model.net.layer:
        if blob in layer.top and not layer.bottom:
            shapes = layer.input_param.shape
            if layer.type != "Input" or not shapes:
                raise GraphError(f"layer '{layer.name}' ({layer.type}) declares no shape; make a deploy net first")
            if len(shapes) == 1 and len(layer.top) > 1:
                raise GraphError(f"layer '{layer.name}' has one shape for all its tops; give each its own")
            shape = shapes[list(layer.top).index(blob)]
            sizes = change(tuple(shape.dim))
            if len(sizes) < 3 or len(sizes) != len(shape.dim):
                raise ShapeError(f"'{blob}' has shape {tuple(shape.dim)}, which has no height and width")
            del shape.dim[:]
            shape.dim.extend(sizes)
