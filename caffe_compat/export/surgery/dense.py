"""Fully connected layers as convolutions and back: the same weights in another shape (Caffe's net surgery example).

Given:                                              Result (fully_convolutional):
    layer {                                             layer {
      name: "fc6"                                         name: "fc6-conv"
      type: "InnerProduct"                                type: "Convolution"
      bottom: "pool5"      (N, 256, 6, 6)                 bottom: "pool5"
      top: "fc6"           (N, 4096)                      top: "fc6"           (N, 4096, 1, 1)
      inner_product_param { num_output: 4096 }            convolution_param { num_output: 4096 kernel_size: 6 }
    }                                                   }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe_compat.errors import GraphError
from caffe_compat.export.surgery.operation import Operation, copied, recorded
from caffe_compat.layers.base import Shape
from caffe_compat.net.cost import layers_with_shapes
from caffe_compat.proto.model import Model

SUFFIX = "-conv"
# Layers whose top has a place for every place of their bottom, so that axes of size 1 behind it change nothing
_PER_PLACE = frozenset(
    {"ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "AbsVal", "BNLL", "Power", "Exp", "Log", "Dropout", "BatchNorm",
     "Scale", "Bias", "Softmax", "Split", "Eltwise", "Concat", "Slice"}
)  # fmt: skip


@recorded
def fully_convolutional(model: Model, input_shapes: Mapping[str, Shape] | None = None) -> Operation:
    """Every InnerProduct as a Convolution whose kernel is its bottom, named NAME-conv; so an image may be larger.

    input_shapes: as in layer_costs. Raises GraphError for a layer that cannot be one: behind a Flatten, with another
    axis, or with shared weights.
    """
    made, changed = copied(model), []
    shapes = _bottom_shapes(model, input_shapes)
    spatial: set[str] = set()  # blobs of two axes that have got two more
    for place, layer in enumerate(made.net.layer):
        if layer.type == "InnerProduct" and place in shapes:
            _refuse_shared(layer)
            kernel = _kernel(layer, shapes[place], spatial)
            _to_convolution(made, layer, kernel)
            changed.append(layer.name)
            spatial.update(layer.top)
        elif spatial.intersection(layer.bottom) and layer.type in _PER_PLACE:
            spatial.update(layer.top)
    if not changed:
        raise GraphError(f"net '{model.net.name}' has no InnerProduct layer")
    _checked(made, input_shapes)
    return Operation(made, f"fully connected layers as convolutions: {', '.join(changed)}")


@recorded
def fully_connected(model: Model, input_shapes: Mapping[str, Shape] | None = None) -> Operation:
    """Every Convolution whose kernel is its whole bottom as an InnerProduct; a name loses its -conv.

    Raises GraphError where there is none, or where what follows needs the axes that go.
    """
    made, changed = copied(model), []
    shapes = _bottom_shapes(model, input_shapes)
    for place, layer in enumerate(made.net.layer):
        shape = shapes.get(place, ())
        if layer.type == "Convolution" and _covers(layer, shape):
            _refuse_shared(layer)
            _to_inner_product(made, layer, shape)
            changed.append(layer.name)
    if not changed:
        raise GraphError(f"net '{model.net.name}' has no Convolution whose kernel is its whole bottom")
    _checked(made, input_shapes)
    return Operation(made, f"convolutions as fully connected layers: {', '.join(changed)}")


def _bottom_shapes(model: Model, input_shapes: Mapping[str, Shape] | None) -> dict[int, Shape]:
    """The shape of the first bottom of each layer of the TEST net, by the layer's place in the message."""
    found: dict[int, Shape] = {}
    places = iter(enumerate(model.net.layer))
    for layer, bottoms, _ in layers_with_shapes(model, input_shapes):
        if layer.param.type == "Split" and not any(each.name == layer.param.name for each in model.net.layer):
            continue
        place = next(index for index, each in places if each.name == layer.param.name and each.type == layer.param.type)
        found[place] = tuple(bottoms[0]) if bottoms else ()
    return found


def _kernel(layer: Any, shape: Shape, spatial: set[str]) -> tuple[int, int]:
    axis = layer.inner_product_param.axis
    if axis != 1:
        raise GraphError(f"layer '{layer.name}': its axis is {axis}; only one of axis 1 can be a convolution")
    if len(shape) == 4:
        return shape[2], shape[3]
    if len(shape) == 2 and layer.bottom[0] in spatial:
        return 1, 1
    raise GraphError(
        f"layer '{layer.name}': its bottom '{layer.bottom[0]}' of shape {shape} has no height and width; "
        "remove the Flatten or Reshape before it"
    )


def _refuse_shared(layer: Any) -> None:
    for spec in layer.param:
        if spec.name:
            raise GraphError(f"layer '{layer.name}': its weights are shared as '{spec.name}'; give it its own first")


def _to_convolution(made: Model, layer: Any, kernel: tuple[int, int]) -> None:
    old, new = layer.inner_product_param, layer.convolution_param
    new.num_output, new.bias_term = old.num_output, old.bias_term
    if kernel[0] == kernel[1]:
        new.kernel_size.append(kernel[0])
    else:
        new.kernel_h, new.kernel_w = kernel
    _carry_fillers(old, new)
    blobs = made.weights.pop(layer.name, ())
    if blobs:
        weight = np.asarray(blobs[0]).reshape(np.shape(blobs[0])[-2:])
        weight = weight.T if old.transpose else weight
        shape = (old.num_output, weight.size // max(old.num_output * kernel[0] * kernel[1], 1), *kernel)
        rest = tuple(np.asarray(blob).reshape(-1) for blob in blobs[1:])
        made.weights[layer.name + SUFFIX] = (np.ascontiguousarray(weight).reshape(shape), *rest)
    layer.ClearField("inner_product_param")
    layer.type, layer.name = "Convolution", layer.name + SUFFIX


def _covers(layer: Any, shape: Shape) -> bool:
    """Whether the layer looks once, through a window as large as its bottom."""
    fields = layer.convolution_param
    if len(shape) != 4 or fields.group != 1 or any(fields.pad) or fields.pad_h or fields.pad_w or fields.axis != 1:
        return False
    if any(each != 1 for each in fields.dilation):
        return False
    sizes = list(fields.kernel_size)
    kernel = [fields.kernel_h, fields.kernel_w] if fields.kernel_h else sizes * 2 if len(sizes) == 1 else sizes
    return tuple(kernel) == shape[2:]


def _to_inner_product(made: Model, layer: Any, shape: Shape) -> None:
    old, new = layer.convolution_param, layer.inner_product_param
    new.num_output, new.bias_term = old.num_output, old.bias_term
    _carry_fillers(old, new)
    blobs = made.weights.pop(layer.name, ())
    name = layer.name.removesuffix(SUFFIX) or layer.name
    if blobs:
        rest = tuple(np.asarray(blob).reshape(-1) for blob in blobs[1:])
        made.weights[name] = (np.asarray(blobs[0]).reshape(old.num_output, -1), *rest)
    layer.ClearField("convolution_param")
    layer.type, layer.name = "InnerProduct", name


def _carry_fillers(old: Any, new: Any) -> None:
    for filler in ("weight_filler", "bias_filler"):
        if old.HasField(filler):
            getattr(new, filler).CopyFrom(getattr(old, filler))


def _checked(made: Model, input_shapes: Mapping[str, Shape] | None) -> None:
    """Refuse a net in which what follows cannot take the other shape; the error names the layer."""
    layers_with_shapes(made, input_shapes)
