"""Caffe's backward passes of layers that compute with what is left in memory, step by step where order matters.

A blob that an in-place layer has overwritten holds other values when its gradient is computed, and the gradient of an
in-place layer's top lies in the same array as that of its bottom (src/caffe/layers at 9b89154, Backward_cpu). A type
that is not listed has the derivative of its forward pass, at what is left of its bottoms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.caffe.blas import overwriting_product
from caffe_compat.layers.caffe.overwriting import channel_sums, one_value_factors

Gradients = list[Tensor | None]


@dataclass(frozen=True)
class Pass:
    """What a backward pass finds.

    bottoms, tops: as they lie in memory now. read, made: as the forward pass read and made them. diffs: of the tops.
    wanted: which bottoms a gradient flows to. in_place: whether bottom 0 and top 0, and their gradients, are one array.
    """

    bottoms: tuple[Tensor, ...]
    tops: tuple[Tensor, ...]
    read: tuple[Tensor, ...]
    made: tuple[Tensor, ...]
    diffs: tuple[Tensor, ...]
    wanted: tuple[bool, ...]
    in_place: bool

    @property
    def diff(self) -> Tensor:
        """Of top 0."""
        return self.diffs[0]


def backward_of(layer: Any) -> Callable[[Any, Pass], Gradients] | None:
    """The function that gives the gradients of a layer's bottoms, and of its blobs or none; None: those of autograd."""
    return _BACKWARD.get(layer.param.type)


def _power(layer: Any, found: Pass) -> Gradients:
    """The slope is written into the bottom's gradient, then multiplied by the top's: in place, by itself."""
    (x, y), whole = (found.bottoms[0], found.tops[0]), layer.power * layer.scale
    if whole == 0 or layer.power == 1:
        slope = torch.full_like(x, whole)
    elif layer.power == 2:
        slope = whole * layer.scale * x + whole * layer.shift
    elif layer.shift == 0:
        slope = y / x * layer.power
    else:
        slope = y / (layer.scale * x + layer.shift) * whole
    return [slope * (slope if found.in_place else found.diff) if whole else slope]


def _log(layer: Any, found: Pass) -> Gradients:
    """As `_power`."""
    slope = (layer.scale * found.bottoms[0] + layer.shift).reciprocal() * (layer.scale * layer.base_scale)
    return [slope * (slope if found.in_place else found.diff)]


def _exp(layer: Any, found: Pass) -> Gradients:
    return [found.tops[0] * found.diff * layer.inner_scale]


def _bnll(layer: Any, found: Pass) -> Gradients:
    grown = found.bottoms[0].clamp(max=layer.linear_from).exp()
    return [found.diff * grown / (grown + 1)]


def _clip(layer: Any, found: Pass) -> Gradients:
    x = found.bottoms[0]
    return [torch.where((x >= layer.min) & (x <= layer.max), found.diff, 0 * found.diff)]


def _elu(layer: Any, found: Pass) -> Gradients:
    return [found.diff * torch.where(found.bottoms[0] > 0, 1.0, layer.alpha + found.tops[0])]


def _relu(layer: Any, found: Pass) -> Gradients:
    if layer.negative_slope == 0:
        return [torch.ops.aten.threshold_backward(found.diff, found.bottoms[0], 0)]
    return [torch.where(found.bottoms[0] > 0, found.diff, layer.negative_slope * found.diff)]


def _sigmoid(layer: Any, found: Pass) -> Gradients:
    return [found.diff * found.tops[0] * (1 - found.tops[0])]


def _tanh(layer: Any, found: Pass) -> Gradients:
    return [found.diff * (1 - found.tops[0].square())]


def _swish(layer: Any, found: Pass) -> Gradients:
    """The sigmoid is a blob of the layer's own."""
    along = layer.beta * found.tops[0]
    return [found.diff * (along + torch.sigmoid(layer.beta * found.read[0]) * (1 - along))]


def _softmax(layer: Any, found: Pass) -> Gradients:
    y = found.tops[0]
    return [(found.diff - (found.diff * y).sum(layer.axis, keepdim=True)) * y]


def _lstm_unit(layer: Any, found: Pass) -> Gradients:
    """The gates are computed anew, the cell after them is read: tops are c and h, bottoms c before, gates and cont."""
    before, gates, cont = found.bottoms
    i, f, o = (torch.sigmoid(part) for part in gates.chunk(4, -1)[:3])
    g, f = torch.tanh(gates.chunk(4, -1)[3]), f * cont.unsqueeze(2)
    along, (of_cell, of_hidden) = torch.tanh(found.tops[0]), found.diffs
    term = of_cell + of_hidden * o * (1 - along.square())
    slopes = (term * g * i * (1 - i), term * before * f * (1 - f), of_hidden * along * o * (1 - o))
    return [term * f, torch.cat([*slopes, term * i * (1 - g * g)], -1), None]


def _mvn(layer: Any, found: Pass) -> Gradients:
    """y sum(y dy) + sum(dy), then dy - that / dim; in place, dy is by then what has been written over it.

    The divisor is the layer's own. The last sum is scal, then axpy (mkl_alternate.hpp): in place it doubles.
    """
    param, y, diff = layer.param.mvn_param, found.tops[0], found.diff.reshape(found.tops[0].shape)
    axes = tuple(range(1 if param.across_channels else 2, y.dim()))
    x = found.read[0].reshape(y.shape)
    spread = (x - x.mean(axes, keepdim=True)).square().mean(axes, keepdim=True).sqrt() + param.eps
    count = y[0].numel() if param.across_channels else y[0, 0].numel()
    written = y * (y * diff).sum(axes, keepdim=True)
    written = written + (written if found.in_place else diff).sum(axes, keepdim=True)
    written = written * (-1 / count)
    return [((written + (written if found.in_place else diff)) / spread).reshape(found.read[0].shape)]


def _lrn(layer: Any, found: Pass) -> Gradients:
    return _lrn_within(layer, found) if layer.rule.within else _lrn_across(layer, found)


def _lrn_across(layer: Any, found: Pass) -> Gradients:
    """scale^-beta is written into the bottom's gradient, then multiplied by the top's: in place, by itself."""
    rule = layer.rule
    scale = rule.k + rule.alpha / rule.size * channel_sums(found.read[0].square(), rule.size)
    direct = scale.pow(-rule.beta)
    direct = direct * (direct if found.in_place else found.diff)
    ratio = (direct if found.in_place else found.diff) * found.tops[0] / scale
    factor = 2 * rule.alpha * rule.beta / rule.size
    return [direct - factor * found.bottoms[0] * channel_sums(ratio, rule.size)]


def _lrn_within(layer: Any, found: Pass) -> Gradients:
    """A Split, a square, AVE pooling, a power and a product (lrn_layer.cpp): the Split's tops are the bottom's data."""
    rule, left = layer.rule, found.bottoms[0]
    scale = 1 + rule.alpha * _plane_means(found.read[0].square(), rule.size)
    factor = scale.pow(-rule.beta)
    along = found.diff * left * factor / scale * (-rule.beta * rule.alpha)
    return [found.diff * factor + 2 * left * _plane_means(along, rule.size)]


def _plane_means(values: Tensor, size: int) -> Tensor:
    return functional.avg_pool2d(values, size, 1, size // 2)


def _eltwise(layer: Any, found: Pass) -> Gradients:
    """Bottom by bottom; in place, the gradient of bottom 0 is where the others then look for the top's."""
    diff, gradients = found.diff, Gradients()
    for index, wanted in enumerate(found.wanted):
        gradients.append(_ELTWISE[layer.operation](layer, found, index, diff) if wanted else None)
        if found.in_place and index == 0 and wanted:
            diff = gradients[0]  # type: ignore[assignment]
    return gradients


def _of_product(layer: Any, found: Pass, index: int, diff: Tensor) -> Tensor:
    if layer.stable_prod_grad:
        slope = reduce(torch.mul, [x for k, x in enumerate(found.bottoms) if k != index])
    else:
        slope = found.tops[0] / found.bottoms[index]
    return slope * (slope if found.in_place and index == 0 else diff)


def _of_sum(layer: Any, found: Pass, index: int, diff: Tensor) -> Tensor:
    return diff * (layer.coefficients[index] if layer.coefficients else 1)


def _of_maximum(layer: Any, found: Pass, index: int, diff: Tensor) -> Tensor:
    """In place, bottom 0 was lost to the smallest number before it was compared."""
    first = torch.full_like(found.read[0], torch.finfo(found.read[0].dtype).min) if found.in_place else found.read[0]
    winner, top = (first <= found.read[1]).long(), torch.where(first > found.read[1], first, found.read[1])
    for number, x in enumerate(found.read[2:], start=2):
        winner, top = torch.where(x > top, number, winner), torch.maximum(x, top)
    return torch.where(winner == index, diff, 0 * diff)


_ELTWISE: Mapping[str, Callable[[Any, Pass, int, Tensor], Tensor]] = {
    "PROD": _of_product, "SUM": _of_sum, "MAX": _of_maximum,
}  # fmt: skip


def _pooling(layer: Any, found: Pass) -> Gradients:
    """In place, the gradient is set to 0 before the top's is read."""
    return [torch.zeros_like(found.diff)]


def _convolution(layer: Any, found: Pass) -> Gradients:
    """In place with windows of one value, image by image: the blobs' gradients, then the bottom's over the top's."""
    x, outputs, turned = found.bottoms[0], layer.outputs, layer.param.type == "Convolution"
    factors, columns = one_value_factors(layer), x[0, 0].numel()
    left, memory = x.flatten(), torch.zeros_like(x).flatten()
    memory[: found.diff.numel()] = found.diff.flatten()
    slopes = torch.zeros_like(factors)
    bias = found.diff.flatten(2).sum((0, 2))
    for image in range(len(x)):
        start = image * outputs * columns
        diff = memory[start : start + outputs * columns].view(layer.group, -1, columns)
        values = left[start : start + x[0].numel()].view(layer.group, -1, columns)
        slopes += diff @ values.transpose(1, 2)
        if found.wanted[0]:
            overwriting_product(memory, start, factors.transpose(1, 2), columns, turned)
    slopes = slopes if turned else slopes.transpose(1, 2)
    return [memory.view(x.shape), slopes.reshape(layer.blobs[0].shape), *([bias] if len(layer.blobs) > 1 else [])]


def _inner_product(layer: Any, found: Pass) -> Gradients:
    """In place: the blobs' gradients from what is left, then the bottom's over the top's, see `overwriting`."""
    diff, left = (values.reshape(-1, layer.outputs) for values in (found.diff, found.bottoms[0]))
    weight, slopes = layer.blob(0).detach(), diff.t() @ left
    product = torch.zeros_like(diff) if layer.transpose else diff @ weight
    blobs = [slopes.t() if layer.transpose else slopes, diff.sum(0)][: len(layer.blobs)]
    return [product.view(found.read[0].shape), *blobs]


_BACKWARD: Mapping[str, Callable[[Any, Pass], Gradients]] = {
    "BNLL": _bnll, "Clip": _clip, "ELU": _elu, "Eltwise": _eltwise, "Exp": _exp, "LRN": _lrn, "Log": _log,
    "LSTMUnit": _lstm_unit, "MVN": _mvn,
    "Power": _power, "ReLU": _relu, "Sigmoid": _sigmoid, "Softmax": _softmax, "Swish": _swish, "TanH": _tanh,
}  # fmt: skip
_BACKWARD_IN_PLACE: Mapping[str, Callable[[Any, Pass], Gradients]] = {
    **_BACKWARD, "Convolution": _convolution, "Deconvolution": _convolution, "InnerProduct": _inner_product,
    "Pooling": _pooling,
}  # fmt: skip


def destroying_backward_of(layer: Any) -> Callable[[Any, Pass], Gradients] | None:
    """As `backward_of` for a layer in place whose own passes destroy what they still have to read."""
    return _BACKWARD_IN_PLACE.get(layer.param.type)
