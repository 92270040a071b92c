"""The filter banks of a net that pruning methods act on, with what their prune_param says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.graph.graph import Blob, Node
from caffe_compat.net.net import Net

_PASSING = ("Split", "BatchNorm", "Scale", "Bias", "ReLU", "PReLU", "ELU", "Dropout")
FILTER_BANKS = ("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "InnerProduct")


@dataclass(frozen=True)
class PrunedLayer:
    """One Convolution or InnerProduct. weight, bias: numbers of its parameters in Caffe's order, bias None for none.

    tensor: the weight. ratio: prune_ratio as the number that was written, not its float32. group: of a convolution.
    """

    name: str
    type: str
    weight: int
    bias: int | None
    tensor: Tensor
    ratio: float
    group: int
    given: bool  # whether the layer has a prune_ratio


def pruned_layers(net: Net, method: str) -> list[PrunedLayer]:
    """Every Convolution and InnerProduct that owns its weight, in net order; SolverError for a bad prune_ratio."""
    owned = {user: index for index, param in enumerate(net.learnable_params) for user in param.users[:1]}
    found = []
    for node in net.graph.nodes:
        layer = net.layers[node.name]
        if node.param.type not in FILTER_BANKS or (node.name, 0) not in owned:
            continue
        param = layer.param.prune_param
        ratio = written(param.prune_ratio)
        if not 0 <= ratio < 1:
            raise SolverError(
                f"layer '{node.name}': prune_ratio is {ratio:g}; wanted 0 or more and less than 1, so that {method} "
                "leaves filters"
            )
        weight = owned[node.name, 0]
        group = int(getattr(layer, "group", 1))
        found.append(
            PrunedLayer(
                node.name,
                node.param.type,
                weight,
                owned.get((node.name, 1)),
                net.learnable_params[weight].tensor.detach(),
                ratio,
                group,
                param.HasField("prune_ratio"),
            )
        )
    return found


def written(value: float) -> float:
    """The number that a prototxt had for a float32: 0.3, not 0.30000001192092896, of which 10 filters would make 4."""
    return float(str(np.float32(value)))


def siblings_of(net: Net, layers: Mapping[int, str]) -> dict[int, int]:
    """Shortcut -> a convolution that reads the same blob, by the numbers of `layers`, number -> name.

    A shortcut is a convolution whose top goes into an Eltwise with nothing but normalization between, while that of
    another one that reads the same blob does not.
    """
    makers = {top: node for node in net.graph.nodes for top in node.tops}
    nodes = {node.name: node for node in net.graph.nodes}
    readers: dict[Blob, list[int]] = {}
    for index, name in layers.items():
        readers.setdefault(_source(nodes[name].bottoms[0], makers), []).append(index)
    summed = {
        _source(bottom, makers, through=_PASSING)
        for node in net.graph.nodes
        if node.param.type == "Eltwise"
        for bottom in node.bottoms
    }
    found = {}
    for together in readers.values():
        ends = {index for index in together if nodes[layers[index]].tops[0] in summed}
        starts = [index for index in together if index not in ends]
        found.update({index: starts[0] for index in ends if starts})
    return found


def shortcuts(net: Net) -> set[str]:
    """The names of the convolutions beside the blocks of a residual net, see `siblings_of`."""
    names = [node.name for node in net.graph.nodes if node.param.type in FILTER_BANKS]
    layers = dict(enumerate(names))
    return {layers[index] for index in siblings_of(net, layers)}


def scale_behind(net: Net, name: str) -> tuple[int, ...]:
    """The numbers of gamma and beta of the Scale behind the layer `name`, with BatchNorm alone between; () for none."""
    owned = {user: index for index, param in enumerate(net.learnable_params) for user in param.users[:1]}
    readers: dict[Blob, list[Node]] = {}
    for node in net.graph.nodes:
        for bottom in node.bottoms:
            readers.setdefault(bottom, []).append(node)
    blob = next(node for node in net.graph.nodes if node.name == name).tops[0]
    while len(readers.get(blob, ())) == 1:
        node = readers[blob][0]
        if node.param.type == "Scale" and len(node.bottoms) == 1:
            return tuple(owned[node.name, place] for place in (0, 1) if (node.name, place) in owned)
        if node.param.type != "BatchNorm":
            break
        blob = node.tops[0]
    return ()


def _source(blob: Blob, makers: Mapping[Blob, Node], through: tuple[str, ...] = ("Split",)) -> Blob:
    """The blob that `blob` is made of by nothing but layers of the types `through`."""
    while blob in makers and makers[blob].param.type in through:
        blob = makers[blob].bottoms[0]
    return blob
