"""Eltwise, Reduction, ArgMax and Tile (the layer files of these names in Caffe 1.0), and Axpy of SENet."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.fields import enum_name, given
from caffe_compat.layers.registry import register


class _UnstableProduct(torch.autograd.Function):
    """The product of all bottoms with `stable_prod_grad: false`: bottom i's gradient is top / bottom i * top's."""

    @staticmethod
    def forward(ctx: Any, *bottoms: Tensor) -> Tensor:
        top = reduce(torch.mul, bottoms)
        ctx.save_for_backward(top, *bottoms)
        return top

    @staticmethod
    def backward(ctx: Any, *top_gradients: Tensor) -> tuple[Tensor, ...]:
        top, *bottoms = ctx.saved_tensors
        return tuple(top / bottom * top_gradients[0] for bottom in bottoms)


def _larger(first: Tensor, second: Tensor) -> Tensor:
    """The larger of each pair; a tie, and its gradient, goes to `second`."""
    return torch.where(first > second, first, second)


def _maximum(bottoms: tuple[Tensor, ...]) -> Tensor:
    """Caffe's mask rule: among the first two a tie goes to the second, a later bottom wins only if strictly larger."""
    top = _larger(bottoms[0], bottoms[1])
    for bottom in bottoms[2:]:
        top = torch.where(bottom > top, bottom, top)
    return top


@register("Eltwise")
class Eltwise(Layer):
    """The PROD, SUM (with `coeff`) or MAX of two or more bottoms of one shape, element by element."""

    bottoms = Count(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.eltwise_param
        self.operation = enum_name(field, "operation")
        self.coefficients: tuple[float, ...] = tuple(field.coeff)
        self.stable_prod_grad: bool = field.stable_prod_grad
        if self.coefficients and len(self.coefficients) != len(param.bottom):
            raise UnsupportedParameterError(
                f"layer '{self.name}': eltwise_param.coeff is given {len(self.coefficients)} times for "
                f"{len(param.bottom)} bottoms; give one for each, or none"
            )
        if self.operation != "SUM" and self.coefficients:
            raise UnsupportedParameterError(
                f"layer '{self.name}': eltwise_param.coeff goes with operation SUM only, found {self.operation}"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for index, shape in enumerate(bottom_shapes):
            if shape != bottom_shapes[0]:
                raise ShapeError(
                    f"layer '{self.name}': bottom {index} '{self.param.bottom[index]}' has shape {shape}, bottom 0 "
                    f"{bottom_shapes[0]}; Eltwise needs equal shapes"
                )
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.operation == "SUM":
            return self._sum(bottoms)
        if self.operation == "MAX":
            return _maximum(bottoms)
        if self.stable_prod_grad:
            return reduce(torch.mul, bottoms)
        product: Tensor = _UnstableProduct.apply(*bottoms)  # type: ignore[no-untyped-call]
        return product

    def _sum(self, bottoms: tuple[Tensor, ...]) -> Tensor:
        coefficients = self.coefficients or (1.0,) * len(bottoms)
        top = bottoms[0] if coefficients[0] == 1 else bottoms[0] * coefficients[0]
        for bottom, coefficient in zip(bottoms[1:], coefficients[1:], strict=True):
            top = torch.add(top, bottom, alpha=coefficient)
        return top


@register("Axpy")
class Axpy(Layer):
    """a * x + y with one a for each item and channel (axpy_layer.cpp of hujie-frank/SENet).

    Bottoms: a (N, C) or (N, C, 1, 1), x and y (N, C, ...).
    """

    bottoms = exactly(3)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        a, x, y = bottom_shapes
        if x != y or a[:2] != x[:2] or math.prod(a[2:]) != 1:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {a}, {x} and {y}, wanted (N, C, 1, 1), (N, C, ...), (N, C, "
                "...)"
            )
        return [x]

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, x, y = bottoms
        return torch.addcmul(y, a.reshape(*x.shape[:2], *(1,) * (x.dim() - 2)), x)


_REDUCE: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "SUM": lambda x, axes: x.sum(axes),
    "ASUM": lambda x, axes: x.abs().sum(axes),
    "SUMSQ": lambda x, axes: x.square().sum(axes),
    "MEAN": lambda x, axes: x.mean(axes),
}


@register("Reduction")
class Reduction(Layer):
    """coeff times the SUM, ASUM (of absolute values), SUMSQ (of squares) or MEAN over `axis` and all axes behind it."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.reduction_param
        self.reduce = _REDUCE[enum_name(field, "operation")]
        self.axis: int = field.axis
        self.coeff: float = field.coeff

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0][: self.canonical_axis(self.axis, bottom_shapes[0])]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        top = self.reduce(x, tuple(range(self.axis % x.dim(), x.dim())))
        return top if self.coeff == 1 else top * self.coeff


@register("ArgMax")
class ArgMax(Layer):
    """The `top_k` largest values' indices, as floats; among equal values the larger index comes first. No gradient.

    With `axis` they stand along that axis (and with out_max_val the values instead). Without, they are of all values of
    an image, in a top of shape (N, 1, top_k, 1, ...), or (N, 2, top_k, 1, ...): indices, then values, with out_max_val.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.argmax_param
        self.out_max_val: bool = field.out_max_val
        self.top_k: int = field.top_k
        self.axis: int | None = given(field, "axis")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if self.axis is None:
            size = math.prod(shape[1:])
            if not shape:
                raise ShapeError(f"layer '{self.name}': a bottom without axes has no images; give axis, or a batch")
            top = (shape[0], 2 if self.out_max_val else 1, self.top_k, *(1,) * (len(shape) - 3))
        else:
            axis = self.canonical_axis(self.axis, shape)
            size = shape[axis]
            top = (*shape[:axis], self.top_k, *shape[axis + 1 :])
        if not 1 <= self.top_k <= size:
            raise UnsupportedParameterError(
                f"layer '{self.name}': argmax_param.top_k is {self.top_k}; it must be 1 to {size} for a bottom of "
                f"shape {shape}"
            )
        return [top]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        if self.axis is not None:
            values, indices = self._largest(x, self.axis)
            return values if self.out_max_val else indices
        values, indices = self._largest(x.reshape(x.shape[0], -1), 1)
        top = torch.stack((indices, values), 1) if self.out_max_val else indices
        return top.reshape(self.top_shapes([tuple(x.shape)])[0])

    def _largest(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """The top_k largest values along `axis` and where they stand, as floats."""
        values, places = torch.sort(x.flip(axis), dim=axis, descending=True, stable=True)
        last = x.shape[axis] - 1
        return values.narrow(axis, 0, self.top_k), (last - places.narrow(axis, 0, self.top_k)).to(x.dtype)


@register("Tile")
class Tile(Layer):
    """The bottom repeated `tiles` times along `axis`."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis: int = param.tile_param.axis
        self.tiles: int = param.tile_param.tiles
        if self.tiles < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': tile_param.tiles is {self.tiles}; it must be given, and be 1 or more"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        axis = self.canonical_axis(self.axis, shape)
        return [(*shape[:axis], shape[axis] * self.tiles, *shape[axis + 1 :])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.cat(bottoms * self.tiles, self.axis)
