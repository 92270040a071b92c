"""Forward passes in place of layers that overwrite their bottom before they have read it.

Source: Forward_cpu in src/caffe/layers at 9b89154, with bottom and top in one array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.caffe.blas import overwriting_product


def destroying_forward_of(layer: Any) -> Callable[..., Tensor] | None:
    """The forward pass in place of a layer that loses its bottom in it; None where it does not."""
    if layer.param.type == "Eltwise":
        return _ELTWISE.get(layer.operation)
    return _FORWARD.get(layer.param.type)


def _sum(layer: Any, *bottoms: Tensor) -> Tensor:
    """The top is set to 0 first."""
    coefficients = layer.coefficients or (1.0,) * len(bottoms)
    terms = zip(bottoms[1:], coefficients[1:], strict=True)
    return reduce(torch.add, [x if c == 1 else x * c for x, c in terms])


def _maximum(layer: Any, *bottoms: Tensor) -> Tensor:
    """The top is set to the smallest number first."""
    return reduce(torch.maximum, bottoms[1:], torch.full_like(bottoms[0], torch.finfo(bottoms[0].dtype).min))


def _lrn(layer: Any, *bottoms: Tensor) -> Tensor:
    """scale^-beta is written over the bottom, and then multiplied by what lies there: itself."""
    rule, squares = layer.rule, bottoms[0].square()
    scale: Tensor = rule.k + rule.alpha / rule.size * channel_sums(squares, rule.size)
    return scale.pow(-2 * rule.beta)


def channel_sums(values: Tensor, size: int) -> Tensor:
    """The sum over `size` neighbouring channels, zeros beyond the edge. values: (N, C, H, W)."""
    half = size // 2
    return functional.pad(values, (0, 0, 0, 0, half, half)).unfold(1, size, 1).sum(-1)


def _average(layer: Any, *bottoms: Tensor) -> Tensor:
    """The top is set to 0 first, and with it all that would be averaged."""
    return torch.zeros_like(bottoms[0])


def _convolution(layer: Any, *bottoms: Tensor) -> Tensor:
    """Windows of one value. Image n begins where its top does, even if its bottom had more channels."""
    x, outputs, turned = bottoms[0], layer.outputs, layer.param.type == "Deconvolution"
    columns, memory, factors = x[0, 0].numel(), x.flatten().clone(), one_value_factors(layer)
    bias = None if layer.bias is None else layer.bias.detach().view(-1, 1)
    for start in range(0, len(x) * outputs * columns, outputs * columns):
        overwriting_product(memory, start, factors, columns, turned)
        if bias is not None:
            memory[start : start + outputs * columns].view(outputs, columns).add_(bias)
    return memory[: len(x) * outputs * columns].view(len(x), outputs, *x.shape[2:])


def _inner_product(layer: Any, *bottoms: Tensor) -> Tensor:
    """The product is of zeros, which OpenBLAS writes first, unless the weight lies transposed."""
    top: Tensor = layer(*bottoms) if layer.transpose else layer(torch.zeros_like(bottoms[0]))
    return top


def one_value_factors(layer: Any) -> Tensor:
    """(groups, outputs / groups, channels / groups): what a Convolution or Deconvolution of one value multiplies by."""
    weight: Tensor = layer.blob(0).detach()
    factors = weight.reshape(layer.group, -1, weight.shape[1])
    return factors if layer.param.type == "Convolution" else factors.transpose(1, 2)


_ELTWISE: Mapping[str, Callable[..., Tensor]] = {"SUM": _sum, "MAX": _maximum}
_FORWARD: Mapping[str, Callable[..., Tensor]] = {
    "Convolution": _convolution, "Deconvolution": _convolution, "InnerProduct": _inner_product, "LRN": _lrn,
    "Pooling": _average,
}  # fmt: skip
