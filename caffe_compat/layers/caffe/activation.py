"""Activations: ReLU, PReLU, ELU, Sigmoid, TanH, BNLL, Swish (relu_layer.cpp and so on of Caffe 1.0).

Every class takes one bottom of any shape and gives one top of the same shape; in-place use is a matter of the graph,
`forward` never writes on its bottom.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Elementwise, Shape
from caffe_compat.layers.looped import is_transformed
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter


@register("ReLU")
class ReLU(Elementwise):
    """max(x, 0) + negative_slope * min(x, 0); the gradient at 0 is negative_slope.

    `inplace` True lets `forward` write on its bottom where no gradient is wanted; whoever sets it knows that nobody
    else reads that tensor. `overwrites` the same with gradients, which must not need the bottom either;
    `overwrites_gradient` lets the backward pass write on the gradient of the top, which nobody else may hold then.
    is_done: the bottom is handed on, for another layer rectifies.
    """

    inplace = overwrites = overwrites_gradient = is_done = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.negative_slope: float = param.relu_param.negative_slope

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0] if self.is_done else self.rectified(*bottoms)

    def rectified(self, bottom: Tensor) -> Tensor:
        """The top."""
        if self.negative_slope == 0:
            if self.overwrites and self.overwrites_gradient and _can_be_marked(bottom):
                top: Tensor = _InMemory.apply(bottom)  # type: ignore[no-untyped-call]
                return top
            return functional.relu(bottom, self.overwrites or (self.inplace and not torch.is_grad_enabled()))
        return functional.leaky_relu(bottom, self.negative_slope)


def _can_be_marked(bottom: Tensor) -> bool:
    """Whether autograd lets a Function of ours write on `bottom`; on a CPU alone, where it was measured."""
    if bottom._is_view() or bottom.device.type != "cpu" or torch.compiler.is_compiling() or is_transformed():
        return False
    return bottom.requires_grad and torch.is_grad_enabled()


class _InMemory(torch.autograd.Function):
    """ReLU in the memory of its bottom, and its gradient in that of its top's."""

    @staticmethod
    def forward(ctx: Any, bottom: Tensor) -> Tensor:
        ctx.mark_dirty(bottom)
        ctx.save_for_backward(bottom.relu_())
        return bottom

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (top,), (gradient,) = ctx.saved_tensors, gradients
        written: Tensor = torch.ops.aten.threshold_backward.grad_input(gradient, top, 0, grad_input=gradient)
        return written


@register("PReLU")
class PReLU(Elementwise):
    """x where x > 0, else slope * x; blob 0 holds one slope a channel (axis 1), or one in all, 0.25 by default."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.channel_shared: bool = param.prelu_param.channel_shared

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = bottom_shapes[0]
        if len(shape) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} has no axis 1 for the channels of PReLU")
        field = self.param.prelu_param
        filler = field.filler if field.HasField("filler") else FillerParameter(type="constant", value=0.25)
        self.add_blob(() if self.channel_shared else (shape[1],), filler)

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.prelu(bottoms[0], self.blob(0).view(-1))


@register("ELU")
class ELU(Elementwise):
    """x where x > 0, else alpha * (exp(x) - 1)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.alpha: float = param.elu_param.alpha

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.elu(bottoms[0], self.alpha)


@register("Sigmoid")
class Sigmoid(Elementwise):
    """1 / (1 + exp(-x))."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.sigmoid(bottoms[0])


@register("TanH")
class TanH(Elementwise):
    """tanh(x)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.tanh(bottoms[0])


@register("BNLL")
class BNLL(Elementwise):
    """Binomial normal log likelihood: log(1 + exp(x))."""

    linear_from = 50.0  # from here on log(1 + exp(x)) = x in float64, and exp(x) is still far from overflow

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.softplus(bottoms[0], threshold=self.linear_from)


@register("Swish")
class Swish(Elementwise):
    """x * sigmoid(beta * x)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.beta: float = param.swish_param.beta

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        return functional.silu(x) if self.beta == 1 else x * torch.sigmoid(self.beta * x)
