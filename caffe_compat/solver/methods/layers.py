"""The filter banks of a net that pruning methods act on, with what their prune_param says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net

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
