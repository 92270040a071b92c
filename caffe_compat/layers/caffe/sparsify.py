"""Sparsify of the paper's fork (sparsify_layer.cpp of wenwei202/caffe, branch sfm).

Its gradient is not the derivative of the top; it comes from the top alone, for the layer may work in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.function import Function, without_derivative
from caffe_compat.layers.registry import register


class _Sparsified(Function):
    """softshrink(x, threshold), with gradient dy + coefficient * sign(y), masked by y != 0 if there is a threshold."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float, coefficient: float, name: str) -> Tensor:
        y = functional.softshrink(x, threshold) if threshold else x.clone()
        ctx.threshold, ctx.coefficient, ctx.name = threshold, coefficient, name
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        gradient = gradients[0] + ctx.coefficient * y.sign()
        if ctx.coefficient:
            why = "adds sparsify_param.coef to every gradient"
            gradient = without_derivative(ctx, gradient, (ctx.name, "Sparsify"), why)
        return torch.where(y != 0, gradient, 0) if ctx.threshold else gradient, None, None, None


@register("Sparsify")
class Sparsify(Elementwise):
    """0 where |x| <= thre, else x moved by thre towards 0.

    The gradient also gets coef * sign(top), an L1 pull on the activations: per element, not divided by the batch size,
    and not part of the loss that is shown.
    """

    gradient = "own"

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.thre: float = param.sparsify_param.thre
        self.coef: float = param.sparsify_param.coef
        for field, value in (("thre", self.thre), ("coef", self.coef)):
            if value < 0:
                raise UnsupportedParameterError(
                    f"layer '{self.name}': sparsify_param.{field} is {value:g}; it may not be negative"
                )

    def forward(self, *bottoms: Tensor) -> Tensor:
        y: Tensor = _Sparsified.apply(bottoms[0], self.thre, self.coef, self.name)  # type: ignore[no-untyped-call]
        return y
