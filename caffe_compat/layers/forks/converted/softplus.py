"""Softplus (softplus_layer.cpp of synopsys-caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Elementwise
from caffe_compat.layers.function import Function
from caffe_compat.layers.registry import register


class _Softplus(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x.exp() + 1).log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] * x.sigmoid()
        return gradient


@register("Softplus")
class Softplus(Elementwise):
    """log(exp(x) + 1) as it stands: infinite above 88.7 in float32, 0 below -17. BNLL is the same without those ends.

    The fork has no Backward; the gradient is the derivative, the sigmoid of x, at the ends too.
    """

    def forward(self, *bottoms: Tensor) -> Tensor:
        top: Tensor = _Softplus.apply(bottoms[0])  # type: ignore[no-untyped-call]
        return top
