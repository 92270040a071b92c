"""`caffe.coord_map`: how the coordinates of one top map to those of another, and the Crop layer that aligns them.

A map is (axis, scale, shift): the coordinate x of a layer's bottom lies at scale * x + shift of its top. Tops and
layers are those of `net_spec`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from caffe_compat.pycaffe.net_spec import layers

Map = tuple[Any, Any, Any]
IDENTITY: Map = (None, 1, 0)
PASS_THROUGH_LAYERS = [
    "AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Log", "LRN", "Exp", "MVN", "Power", "ReLU",
    "PReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold",
]  # fmt: skip
_TWO_AXES = {"pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w"}


class UndefinedMapException(Exception):
    """A layer through which coordinates have no meaning, such as InnerProduct."""


class AxisMismatchException(Exception):
    """Maps of different axes, which cannot follow one another."""


def conv_params(fn: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """axis, stride, dilated kernel size and pad of a layer with windows; AssertionError for fields with _h and _w."""
    fields = fn.params.get("convolution_param", fn.params)
    size = np.array(fields["kernel_size"], ndmin=1)
    dilation, stride, pad = (np.array(fields.get(name, usual), ndmin=1) for name, usual in
                             (("dilation", 1), ("stride", 1), ("pad", 0)))  # fmt: skip
    if not _TWO_AXES.isdisjoint(fn.params):
        raise AssertionError("cropping does not support legacy _h/_w params")
    return fields.get("axis", 1), stride, (size - 1) * dilation + 1, pad


def crop_params(fn: Any) -> tuple[Any, np.ndarray]:
    """axis and offset of a Crop layer."""
    fields = fn.params.get("crop_param", fn.params)
    return fields.get("axis", 2), np.array(fields.get("offset", 0), ndmin=1)


def _windowed(fn: Any) -> Map:
    axis, stride, size, pad = conv_params(fn)
    return axis, 1 / stride, (pad - (size - 1) / 2) / stride


def _widened(fn: Any) -> Map:
    axis, stride, size, pad = conv_params(fn)
    return axis, stride, (size - 1) / 2 - pad


def _cropped(fn: Any) -> Map:
    axis, offset = crop_params(fn)
    return axis - 1, 1, -offset  # the axis before the first that is cropped, as a convolution counts


def _unmoved(fn: Any) -> Map:
    return IDENTITY


_MAPS: dict[str, Callable[[Any], Map]] = {
    "Convolution": _windowed,
    "Pooling": _windowed,
    "Im2col": _windowed,
    "Deconvolution": _widened,
    "Crop": _cropped,
    **dict.fromkeys(PASS_THROUGH_LAYERS, _unmoved),
}


def coord_map(fn: Any) -> Map:
    """The map of one layer; UndefinedMapException where it has none."""
    if fn.type_name not in _MAPS:
        raise UndefinedMapException
    return _MAPS[fn.type_name](fn)


def compose(base_map: Map, next_map: Map) -> Map:
    """The map of one map behind another; AxisMismatchException where both have an axis and they differ."""
    (axis, scale, shift), (next_axis, next_scale, next_shift) = base_map, next_map
    if axis is None:
        axis = next_axis
    elif next_axis is not None and next_axis != axis:
        raise AxisMismatchException
    return axis, scale * next_scale, scale * next_shift + shift


def inverse(coord_map: Map) -> Map:
    """The map the other way."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def _bottoms(top: Any) -> Any:
    """The bottoms whose coordinates are those of `top`, mapped: of a Crop only the one that is cropped."""
    return top.fn.inputs[:1] if top.fn.type_name == "Crop" else top.fn.inputs


def _step_down(top: Any, maps: dict[Any, Map]) -> list[Any]:
    """Add the maps of the bottoms below `top` to `maps`; those bottoms, none where the layer has no map."""
    try:
        reached = list(_bottoms(top))
        for bottom in reached:
            maps[bottom] = compose(maps[top], coord_map(top.fn))
        return reached
    except UndefinedMapException:
        return []


def coord_map_from_to(top_from: Any, top_to: Any) -> Map:
    """The map from the coordinates of one top to those of another, by a blob that both come from.

    RuntimeError where layers with a map do not connect them.
    """
    from_maps: dict[Any, Map] = {top_from: IDENTITY}
    frontier = {top_from}
    while frontier:
        frontier.update(_step_down(frontier.pop(), from_maps))
    to_maps: dict[Any, Map] = {top_to: IDENTITY}
    frontier = {top_to}
    while frontier:
        top = frontier.pop()
        if top in from_maps:
            return compose(to_maps[top], inverse(from_maps[top]))
        frontier.update(_step_down(top, to_maps))
    raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")


def crop(top_from: Any, top_to: Any) -> Any:
    """The top of a Crop layer that cuts `top_from` to what lies under `top_to`.

    AssertionError where the scales differ, or the offset is negative or not whole.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    if not np.all(scale == 1):
        raise AssertionError(f"scale mismatch on crop (a = {scale})")
    if not np.all(shift <= 0):
        raise AssertionError(f"cannot crop negative offset (b = {shift})")
    if not np.all(np.round(shift) == shift):
        raise AssertionError(f"cannot crop noninteger offset (b = {shift})")
    offset = [int(value) for value in np.atleast_1d(-np.round(shift))]
    return layers.Crop(top_from, top_to, crop_param={"axis": axis + 1, "offset": offset})
