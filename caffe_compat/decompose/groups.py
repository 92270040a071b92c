"""Splitting a Convolution into one layer a group, and joining such layers again (the fork's two group scripts).

Given:                                              Result (split_groups):
    layer {                                             layer {
      name: "conv2"                                       name: "conv2_slice"
      type: "Convolution"                                 type: "Slice"
      bottom: "norm1"                                     bottom: "norm1"
      top: "conv2"                                        top: "conv2_slice0"
      convolution_param {                                 top: "conv2_slice1"
        num_output: 256                                   slice_param { axis: 1 slice_point: 48 }
        group: 2                                        }
        ...                                             layer {
      }                                                   name: "conv2_group0"
    }                                                     type: "Convolution"
                                                          bottom: "conv2_slice0"
                                                          top: "conv2_group0"
                                                          convolution_param { num_output: 128 ... }
                                                        }
                                                        (conv2_group1 from conv2_slice1 alike)
                                                        layer {
                                                          name: "conv2_concat"
                                                          type: "Concat"
                                                          bottom: "conv2_group0"
                                                          bottom: "conv2_group1"
                                                          top: "conv2"
                                                        }

The force then acts within each group, and each may be given its own rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe_compat.decompose.bank import find_layer, read_bank
from caffe_compat.decompose.window import read_window, spell_out, spell_out_layers
from caffe_compat.errors import RankError, WeightsError
from caffe_compat.proto.model import Model, ModelLike, Weights, as_model
from caffe_compat.proto.schema import LayerParameter, NetParameter

PART = re.compile(r"(?P<name>.+)_group(?P<index>\d+)")


def split_groups(model: ModelLike, parts: Mapping[str, int] | None = None) -> Model:
    """The model with grouped Convolutions as parallel layers X_group0, X_group1, ..., joined by a Concat.

    parts: {layer: how many}, by default every Convolution with groups by its own. A layer without groups may be split
    too: its parts then all read the whole bottom, as the fork splits AlexNet's conv1 and conv3. Raises RankError for
    a layer that cannot be split so.
    """
    model = as_model(model)
    if parts is None:
        convolutions = [layer for layer in model.net.layer if layer.type == "Convolution"]
        parts = {
            layer.name: layer.convolution_param.group for layer in convolutions if layer.convolution_param.group > 1
        }
    for name, count in parts.items():
        _check_split(model, find_layer(model, name), count)
    net = _empty_copy(model.net)
    for layer in model.net.layer:
        splits = layer.name in parts and layer.type == "Convolution"
        net.layer.extend(_split_layer(model, layer, parts[layer.name]) if splits else [layer])
    spell_out_layers(net)
    return Model(net, regroup_weights(model.weights, net), pixels=model.pixels, folder=model.folder)


def merge_groups(model: ModelLike) -> Model:
    """The model with every X_group0, X_group1, ... that a Concat joins as one Convolution X again.

    The parts may read one blob, or the tops of a Slice into equal parts, which becomes `group`. Layers that stand
    otherwise are left as they are.
    """
    model = as_model(model)
    layers = list(model.net.layer)
    joins = [layer for layer in layers if layer.type == "Concat"]
    found = [merged for merged in (_merged(model, layers, concat) for concat in joins) if merged]
    gone = {id(layer) for _, replaced in found for layer in replaced}
    at = {id(replaced[-1]): whole for whole, replaced in found}
    net = _empty_copy(model.net)
    for layer in layers:
        if id(layer) in at:
            net.layer.append(at[id(layer)])
        elif id(layer) not in gone:
            net.layer.append(layer)
    spell_out_layers(net)
    return Model(net, regroup_weights(model.weights, net), pixels=model.pixels, folder=model.folder)


def regroup_weights(weights: Weights, net: Any) -> Weights:
    """`weights` for the layers of `net`: X cut into X_group0, ..., or those put together to X, others as they are."""
    counts: dict[str, int] = {}
    for layer in net.layer:
        part = PART.fullmatch(layer.name)
        if part and part["name"] in weights and layer.type == "Convolution":
            counts[part["name"]] = max(counts.get(part["name"], 0), int(part["index"]) + 1)
    found: Weights = {}
    convolutions = {layer.name for layer in net.layer if layer.type == "Convolution"}
    for layer in net.layer:
        part = PART.fullmatch(layer.name)
        if layer.name in weights:
            if layer.name in convolutions or layer.name not in counts:  # else its parts have them, not a namesake
                found[layer.name] = weights[layer.name]
        elif layer.name not in convolutions:
            continue
        elif part and part["name"] in counts:
            whole, count = weights[part["name"]], counts[part["name"]]
            if any(len(blob) % count for blob in whole):
                raise WeightsError(
                    f"layer '{layer.name}': blobs of '{part['name']}' cannot be cut into {count} equal parts"
                )
            found[layer.name] = tuple(np.split(blob, count)[int(part["index"])] for blob in whole)
        elif f"{layer.name}_group0" in weights:
            names = [f"{layer.name}_group{index}" for index in range(len(weights))]
            pieces = [weights[name] for name in names if name in weights]
            found[layer.name] = tuple(np.concatenate(same) for same in zip(*pieces, strict=True))
    return found


def _empty_copy(net: Any) -> Any:
    copy = NetParameter()
    copy.CopyFrom(net)
    copy.ClearField("layer")
    return copy


def _check_split(model: Model, layer: Any, count: int) -> None:
    if layer.type != "Convolution" or len(layer.bottom) != 1:
        raise RankError(f"layer '{layer.name}' is not a Convolution of one bottom; only those are split into groups")
    group, filters = layer.convolution_param.group, layer.convolution_param.num_output
    if group not in (1, count) or count < 2 or filters % count:
        raise RankError(
            f"layer '{layer.name}' has {filters} filters in {group} groups; it cannot be split into {count} parts"
        )
    if any(spec.name for spec in layer.param):
        raise RankError(f"layer '{layer.name}' shares '{layer.param[0].name}' with other layers; its parts could not")
    if group > 1:
        read_bank(model, layer)


def _split_layer(model: Model, layer: Any, count: int) -> list[Any]:
    grouped = layer.convolution_param.group > 1
    slices = LayerParameter(name=f"{layer.name}_slice", type="Slice", bottom=layer.bottom)
    slices.top.extend(f"{layer.name}_slice{index}" for index in range(count))
    if grouped:
        channels = read_bank(model, layer).weight.shape[1]
        slices.slice_param.axis = 1
        slices.slice_param.slice_point.extend(channels * index for index in range(1, count))
    concat = LayerParameter(name=f"{layer.name}_concat", type="Concat", top=layer.top)
    parts = []
    for index in range(count):
        part = type(layer)()
        part.CopyFrom(layer)
        part.name = f"{layer.name}_group{index}"
        part.convolution_param.num_output //= count
        part.convolution_param.ClearField("group")
        if _is_flat(model, layer):
            spell_out(part.convolution_param, read_window(part.convolution_param, 2, part.name))
        del part.top[:], part.loss_weight[:]
        part.top.append(part.name)
        if grouped:
            part.bottom[0] = slices.top[index]
        concat.bottom.append(part.name)
        parts.append(part)
    concat.loss_weight.extend(layer.loss_weight)
    for extra in (slices, concat):
        extra.include.extend(layer.include)
        extra.exclude.extend(layer.exclude)
    return [*([slices] if grouped else []), *parts, concat]


def _merged(model: Model, layers: list[Any], concat: Any) -> tuple[Any, list[Any]] | None:
    """The Convolution that `concat` and what stands before it make, and those layers; None where they make none."""
    makers = {top: layer for layer in layers for top in layer.top}
    parts: list[Any] = [makers.get(bottom) for bottom in concat.bottom]
    name = _name_of_parts(parts)
    if name is None or any(_consumers(layers, part.top[0]) != 1 or _differ(parts[0], part) for part in parts):
        return None
    whole = type(concat)()
    whole.CopyFrom(parts[0])
    whole.name = name
    del whole.top[:]
    whole.top.extend(concat.top)
    whole.loss_weight.extend(concat.loss_weight)
    whole.convolution_param.num_output *= len(parts)
    bottoms = [part.bottom[0] for part in parts]
    maker = makers.get(bottoms[0])
    if len(set(bottoms)) == 1:
        return whole, [*parts, concat]
    if maker is None or maker.type != "Slice" or list(maker.top) != bottoms or not _cuts_evenly(model, maker, parts):
        return None
    if any(_consumers(layers, top) != 1 for top in maker.top):
        return None
    whole.bottom[0] = maker.bottom[0]
    whole.convolution_param.group = len(parts)
    return whole, [maker, *parts, concat]


def _cuts_evenly(model: Model, slices: Any, parts: list[Any]) -> bool:
    """Whether a Slice cuts channels into equal parts, as its points and the weights of its readers tell."""
    fields = slices.slice_param
    if (fields.slice_dim if fields.HasField("slice_dim") else fields.axis) != 1:
        return False
    points = list(fields.slice_point)
    if not points:
        return True
    found = {model.weights[part.name][0].shape[1] for part in parts if part.name in model.weights}
    return found == {points[0]} and points == [points[0] * index for index in range(1, len(parts))]


def _is_flat(model: Model, layer: Any) -> bool:
    """Whether a Convolution has windows of height and width, as far as its weights tell."""
    blobs = model.weights.get(layer.name, ())
    return bool(blobs) and blobs[0].ndim == 4


def _name_of_parts(parts: list[Any]) -> str | None:
    """X of Convolutions X_group0, X_group1, ..., in this order; None for any other layers."""
    found = [PART.fullmatch(part.name) if part is not None and part.type == "Convolution" else None for part in parts]
    names = {match["name"] for index, match in enumerate(found) if match and int(match["index"]) == index}
    return names.pop() if len(names) == 1 and None not in found else None


def _consumers(layers: list[Any], blob: str) -> int:
    return sum(list(layer.bottom).count(blob) for layer in layers)


def _differ(one: Any, other: Any) -> bool:
    """Whether two layers differ in more than their names, bottoms and tops."""
    pair = []
    for layer in (one, other):
        copy = type(layer)()
        copy.CopyFrom(layer)
        for field in ("name", "bottom", "top"):
            copy.ClearField(field)
        pair.append(copy)
    return bool(pair[0] != pair[1])
