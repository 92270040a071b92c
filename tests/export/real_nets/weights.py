"""Weights for a net that came without any, such that every layer's values keep a size of about 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

import caffe_compat as cc

STATISTICS = {  # the blobs of a normalisation, in order: (least, most) of uniform numbers
    "BatchNorm": ((-0.2, 0.2), (0.5, 1.5), (1.0, 1.0), (0.5, 1.5), (-0.2, 0.2)),
    "BN": ((0.5, 1.5), (-0.2, 0.2), (-0.2, 0.2), (0.5, 1.5)),
    "Scale": ((0.5, 1.5), (-0.2, 0.2)),
    "Normalize": ((0.5, 1.5),),
    "PReLU": ((0.1, 0.4),),
}


@torch.no_grad()
def with_drawn_weights(model: Any, shapes: Mapping[str, Any], seed: int = 0) -> Any:
    """`model` with weights drawn from `seed`.

    Filters are normal numbers, scaled while the net runs once so that the standard deviation of the layer's top is 1
    (Mishkin and Matas, All you need is a good init, 2016). Statistics and scales are uniform.
    """
    net = cc.Net(model, "TEST", input_shapes=shapes).eval()
    random = torch.Generator().manual_seed(seed)
    for _, layer in net.steps:
        if len(layer.blobs):
            _draw(layer, random)
            if layer.param.type not in STATISTICS and layer.blobs[0].dim() > 1:
                layer.register_forward_hook(_to_unit)
    net(**cc.valid_inputs(net))
    return cc.Model(model.net, net.weights(), folder=model.folder)


def _draw(layer: Any, random: torch.Generator) -> None:
    for index, blob in enumerate(layer.blobs):
        limits = _limits(layer, index)
        if limits is None:
            blob.normal_(0, float(np.prod(blob.shape[1:])) ** -0.5, generator=random)
        else:
            blob.uniform_(*limits, generator=random)


def _limits(layer: Any, index: int) -> tuple[float, float] | None:
    """Between what numbers a blob is uniform; None for filters, which are normal."""
    kind = layer.param.type
    if kind == "DenseBlock":  # filters, scales, biases, means, variances, `steps` of each, maybe twice; the factor 1
        part = index // layer.steps % 5
        return (1.0, 1.0) if index == len(layer.blobs) - 1 else (None, *STATISTICS["BN"])[part]
    if kind in STATISTICS:
        return STATISTICS[kind][index]
    return None if layer.blobs[index].dim() > 1 else (-0.2, 0.2)


def _to_unit(layer: nn.Module, bottoms: Any, top: Any) -> Any:
    """Divide the blobs of a layer that is linear in them, and what it gave, by the standard deviation of that."""
    if not isinstance(top, torch.Tensor) or layer.param.type not in (
        "Convolution", "Deconvolution", "InnerProduct", "DepthwiseConvolution", "ConvolutionDepthwise"
    ):  # fmt: skip
        return None
    size = float(top.std()) if top.numel() > 1 else float(top.abs().max())
    if not 1e-6 < size < 1e6 or (layer.param.param and any(spec.name for spec in layer.param.param)):
        return None
    for blob in layer.blobs:
        blob.div_(size)
    return top / size
