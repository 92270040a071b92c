"""Convolutions and inner products for inference: what follows them done in the same pass, weights packed once.

oneDNN keeps weights in blocks of its own, and torch gives them that form anew in every pass. Here each input shape has
its own packed weights, made when it is first seen; biases, factors and a rectifier that follow cost nothing then.
Values differ from the plain layers' in rounding only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.convolution import Convolution, reached
from caffe_compat.layers.caffe.inner_product import InnerProduct
from caffe_compat.layers.compiled import CompiledConvolution, compiled_form
from caffe_compat.layers.lanes import LANES, LEAST_VALUES, faster_form
from caffe_compat.layers.layout import channels_last, flattened
from caffe_compat.layers.looped import is_plain
from caffe_compat.layers.windows import Windows, convolved_size

Terms = Sequence[tuple[Tensor, Tensor]]  # (factor, shift) one a channel, float64, in the order in which they act
_MOST_SHAPES = 8  # that weights are kept packed for
_LEAST_WORK = 2**20  # multiply-adds; below, a call of oneDNN costs more than it saves
_FEW = 2**17  # values of a top
_ONE_VALUE = Windows((1, 1), (1, 1), (0, 0), (1, 1))
_OPERATORS = torch.ops.mkldnn
_Form = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]  # of a bottom, of what is added, of room for the top
_FormOfTorch = Callable[[Tensor, Tensor | None], Tensor]


def can_be_packed(layer: nn.Module) -> bool:
    """Whether `layer` is one that the classes here can stand for: Caffe's own, with one bottom, over images."""
    if not isinstance(layer, Layer) or len(layer.param.bottom) != 1:
        return False
    if type(layer) is Convolution:
        return layer.axis == 1 and len(layer.windows.kernel) == 2
    return type(layer) is InnerProduct and layer.axis == 1


def packed(layer: Layer, terms: Terms, slope: float | None) -> PackedConvolution | PackedInnerProduct:
    """The module for `layer`, then `terms`, then a ReLU of this negative slope, or None for none."""
    if isinstance(layer, Convolution):
        return PackedConvolution(layer, terms, slope)
    assert isinstance(layer, InnerProduct)
    return PackedInnerProduct(layer, terms, slope)


def _folded(layer: Layer, weight: Tensor, terms: Terms) -> tuple[Tensor, Tensor | None]:
    """`weight`, (channels, ...) in float64, and the layer's bias with the terms in them, of the layer's own type."""
    kind = layer.blob(0).dtype
    bias = layer.blob(1).detach().double() if len(layer.blobs) > 1 else None
    for factor, shift in ((each.to(weight.device) for each in pair) for pair in terms):
        weight = weight * factor.view(-1, *[1] * (weight.dim() - 1))
        bias = shift if bias is None else bias * factor + shift
    return weight.to(kind), None if bias is None else bias.to(kind)


def _rectified(top: Tensor, slope: float | None) -> Tensor:
    if slope is None:
        return top
    return F.relu_(top) if slope == 0 else F.leaky_relu_(top, slope)


class PackedInnerProduct(nn.Module):
    """(batch, ...) to (batch, num_output)."""

    def __init__(self, layer: InnerProduct, terms: Terms, slope: float | None) -> None:
        super().__init__()
        weight = layer.blob(0).detach().double()
        self.weight, self.bias = _folded(layer, weight.t() if layer.transpose else weight, terms)
        if not terms:
            self.weight = layer.blob(0).detach().t() if layer.transpose else layer.blob(0).detach()
        self.slope = slope

    def forward(self, bottom: Tensor) -> Tensor:
        return _rectified(F.linear(flattened(bottom, 1), self.weight, self.bias), self.slope)


class PackedConvolution(nn.Module):
    """(batch, channels, height, width) to (batch, num_output, ...), in torch.channels_last.

    A second bottom of the top's shape is added before the rectifier.
    """

    def __init__(self, layer: Convolution, terms: Terms, slope: float | None) -> None:
        super().__init__()
        self._layer, self.terms, self.slope = (layer,), terms, slope  # the tuple hides the layer's blobs from nn.Module
        self.windows, self.group = layer.windows, layer.group
        self.spare = 0  # filters of zeros that each group has behind its own where torch computes them
        self.spare_from = (1, 0)  # into how many parts the channels of a group of the bottom fall, and as `spare` each
        self._forms: dict[tuple[Any, ...], _Form] = {}  # by what is known of a bottom

    def forward(self, bottom: Tensor, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """`out` is where the top goes if it is given: channels of a larger one in torch.channels_last."""
        return self._form_for(bottom, other)(bottom, other, out)

    def compiled(self, bottom: Tensor, other: Tensor | None = None) -> CompiledConvolution | None:
        """The loop that computes such tops, if one does and leaves nothing to torch."""
        form = self._form_for(bottom, other)
        return form if isinstance(form, CompiledConvolution) and form.runs_alone(bottom, other) else None

    def top(self, shape: Shape) -> Shape:
        """The shape of the top of a bottom of `shape`, without spare filters."""
        return (shape[0], self._layer[0].outputs, *convolved_size(tuple(shape[2:]), self.windows))

    def _form_for(self, bottom: Tensor, other: Tensor | None) -> _Form:
        key = (bottom.shape, bottom.dtype, other is None, is_plain(bottom))
        form = self._forms.get(key)
        if form is None:
            while len(self._forms) >= _MOST_SHAPES:
                self._forms.pop(next(iter(self._forms)), None)  # another thread may have done so
            form = self._forms[key] = self._form(bottom)
        return form

    def _form(self, bottom: Tensor) -> _Form:
        """How bottoms of this shape are convolved."""
        windows = self.windows
        whole = reached(bottom, windows)
        compiled = compiled_form(whole, *self._weights(bottom, 0), windows, self.group, self.slope)
        if compiled is not None and whole is bottom:
            return compiled
        form = compiled or self._form_of_torch(channels_last(whole), *self._weights(bottom, self.spare))

        def placed(bottom: Tensor, other: Tensor | None, out: Tensor | None) -> Tensor:
            top = form(channels_last(reached(bottom, windows)), other)
            return top if out is None else out.copy_(top)

        return placed

    def _form_of_torch(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> _FormOfTorch:
        windows, group, slope = self.windows, self.group, self.slope
        weight = weight.contiguous(memory_format=torch.channels_last)
        form = faster_form(bottom, weight, windows, group)
        sizes = (windows.stride, windows.pad, windows.dilation)
        work = math.prod(convolved_size(tuple(bottom.shape[2:]), windows)) * len(bottom) * weight.numel()
        if form is None and work >= _LEAST_WORK and _packs(bottom):
            is_product = self.windows == _ONE_VALUE and group == 1 and _is_small(bottom, weight)
            return self._product(weight, bias) if is_product else self._packed(bottom, weight, bias)

        def plain(bottom: Tensor, other: Tensor | None) -> Tensor:
            if form is not None:
                top = form(bottom, weight, bias, windows, group)
            else:
                top = F.conv2d(bottom, weight, bias, *sizes, group)
            return _rectified(top if other is None else top.add_(other), slope)

        return plain

    def _product(self, weight: Tensor, bias: Tensor | None) -> _FormOfTorch:
        """Windows of one value as one product of matrices."""
        slope, outputs = self.slope, len(weight)
        factors = weight.flatten(1).t().contiguous()

        def multiplied(bottom: Tensor, other: Tensor | None) -> Tensor:
            pixels = bottom.permute(0, 2, 3, 1)
            rows = pixels.reshape(-1, bottom.shape[1])
            top = torch.mm(rows, factors) if bias is None else torch.addmm(bias, rows, factors)
            top = top.view(*pixels.shape[:3], outputs).permute(0, 3, 1, 2)
            return _rectified(top if other is None else top.add_(other), slope)

        return multiplied

    def _packed(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> _FormOfTorch:
        windows, group, slope = self.windows, self.group, self.slope
        sizes = (windows.pad, windows.stride, windows.dilation)  # not in the order of F.conv2d
        reorder: Callable[..., Tensor] = torch._C._nn.mkldnn_reorder_conv2d_weight
        blocks = reorder(weight.to_mkldnn(), *sizes, group, list(bottom.shape))
        deed = "none" if slope is None else "relu" if slope == 0 else "leaky_relu"
        numbers = [slope] if slope else []

        def fused(bottom: Tensor, other: Tensor | None) -> Tensor:
            if other is None:
                top: Tensor = _OPERATORS._convolution_pointwise(bottom, blocks, bias, *sizes, group, deed, numbers, "")
                return top
            # added, oneDNN through torch rectifies with slope 0 alone
            rest: tuple[Any, ...] = ("relu", [], "") if slope == 0 else (None, [], None)
            added = channels_last(other)
            top = _OPERATORS._convolution_pointwise.binary(bottom, added, blocks, bias, *sizes, group, "add", 1, *rest)
            return F.leaky_relu_(top, slope) if slope else top

        return fused

    def _weights(self, bottom: Tensor, spare: int) -> tuple[Tensor, Tensor | None]:
        """For the channels that `bottom` has, with so many spare filters in each group."""
        layer = self._layer[0]
        weight = layer.blob(0).detach()
        if layer.connections is not None:
            weight = weight * layer.connections[(..., None, None)]
        weight, bias = _folded(layer, weight.double(), self.terms) if self.terms else (weight, _bias(layer))
        if bottom.shape[1] != weight.shape[1] * self.group:
            weight = _with_spare(weight, 1, *self.spare_from)
        return _with_spare(weight, 0, self.group, spare), (
            None if bias is None else _with_spare(bias, 0, self.group, spare)
        )

    def widen(self, reader: PackedConvolution) -> None:
        """Make the groups of the top, which `reader` alone reads, multiples of 16 by channels of zeros.

        A CPU with AVX-512 computes 16 filters at a time: 53 cost as much as 64, and torch more to put them away; a
        compiled loop, which takes part of a vector, gives no such channels.
        """
        weight = self._layer[0].blob(0)
        spare = -(len(weight) // self.group) % LANES
        is_worth_it = weight[0].numel() >= LEAST_VALUES and max(reader.windows.kernel) == 1
        known = self.spare == 0 and reader.spare_from[1] == 0 and reader.group in (1, self.group)
        if spare and is_worth_it and known and torch.backends.cpu.get_cpu_capability() == "AVX512":
            self.spare, reader.spare_from = spare, (self.group // reader.group, spare)


def _is_small(bottom: Tensor, weight: Tensor) -> bool:
    """Whether a product of matrices is faster than oneDNN's convolution, a call of which takes 30 us by itself."""
    return bottom[:, 0].numel() * len(weight) <= _FEW


def _with_spare(values: Tensor, axis: int, parts: int, spare: int) -> Tensor:
    """`values` with `spare` zeros behind each of `parts` equal parts of an axis."""
    if not spare:
        return values
    split = values.reshape(*values.shape[:axis], parts, -1, *values.shape[axis + 1 :])
    zeros = split.new_zeros([spare if number == axis + 1 else size for number, size in enumerate(split.shape)])
    return torch.cat([split, zeros], axis + 1).flatten(axis, axis + 1)


def _bias(layer: Convolution) -> Tensor | None:
    return None if layer.bias is None else layer.bias.detach()


def _packs(bottom: Tensor) -> bool:
    """Whether oneDNN takes such bottoms with packed weights."""
    if bottom.device.type != "cpu" or bottom.dtype != torch.float32 or torch.compiler.is_compiling():
        return False
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(_OPERATORS, "_convolution_pointwise")
