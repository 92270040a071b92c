"""Eltwise (eltwise_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.caffe.batch_norm_chain import Chain
from caffe_compat.layers.caffe.eltwise_loops import RectifiedSum
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.function import Function
from caffe_compat.layers.registry import register


class _UnstableProduct(Function):
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
    """The PROD, SUM (with `coeff`) or MAX of two or more bottoms of one shape, element by element.

    chain: the layers with which it is computed, as net/joining.py has it; one of the bottoms may be that of the first.
    """

    bottoms = Count(2)
    chain: Chain | RectifiedSum | None = None

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
        if self.chain is not None:
            return self.chain.finished(*bottoms)
        if self.operation == "SUM":
            return self.sum(bottoms)
        if self.operation == "MAX":
            return _maximum(bottoms)
        if self.stable_prod_grad:
            return reduce(torch.mul, bottoms)
        product: Tensor = _UnstableProduct.apply(*bottoms)  # type: ignore[no-untyped-call]
        return product

    def sum(self, bottoms: tuple[Tensor, ...]) -> Tensor:
        """The top of a SUM."""
        coefficients = self.coefficients or (1.0,) * len(bottoms)
        top = bottoms[0] if coefficients[0] == 1 else bottoms[0] * coefficients[0]
        for bottom, coefficient in zip(bottoms[1:], coefficients[1:], strict=True):
            top = torch.add(top, bottom, alpha=coefficient)
        return top
