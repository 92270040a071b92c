"""SymmetricRectify of the paper's fork (symmetric_rectify_layer.cpp of wenwei202/caffe, branch sfm).

Its gradient is not the derivative of the top; it comes from the top alone, for the layer may work in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Elementwise, Shape
from caffe_compat.layers.function import Function, without_derivative
from caffe_compat.layers.registry import register


class _Rectified(Function):
    """Soft thresholding: dx = dy * (y != 0); the threshold's gradient is minus sum(dy * sign(y)) minus `decay`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, decay: float, name: str) -> Tensor:
        y = x.sign() * (x.abs() - threshold).clamp(min=0)
        ctx.threshold_shape, ctx.decay, ctx.name = threshold.shape, decay, name
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        (above,) = gradients
        if ctx.decay:
            why = "takes symmetric_rectify_param.thre_decay off every gradient"
            above = without_derivative(ctx, above, (ctx.name, "SymmetricRectify"), why)
        pull = -(above * y.sign()).sum_to_size(ctx.threshold_shape) - ctx.decay
        return torch.where(y != 0, above, 0), pull, None, None


@register("SymmetricRectify")
class SymmetricRectify(Elementwise):
    """Soft thresholding with learnable thresholds: one a channel (axis 1), or one in all; 0 by default.

    `forward` sets negative thresholds to 0 in the blob itself. thre_decay is subtracted from the gradient of every
    threshold, which pushes thresholds up and so makes the activations sparser.
    """

    gradient = "own"

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.channel_shared: bool = param.symmetric_rectify_param.channel_shared
        self.thre_decay: float = param.symmetric_rectify_param.thre_decay

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = bottom_shapes[0]
        if len(shape) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} has no axis 1 for the channels")
        self.add_blob(() if self.channel_shared else (shape[1],), self.param.symmetric_rectify_param.filler)
        if self.context.fills and not self.blobs[0].is_meta and (self.blobs[0] < 0).any():
            raise UnsupportedParameterError(
                f"layer '{self.name}': symmetric_rectify_param.filler makes negative thresholds; they start at 0 or "
                "more"
            )

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        with torch.no_grad():
            self.blob(0).clamp_(min=0)
        threshold = self.blob(0)
        if not self.channel_shared:
            threshold = threshold.view(-1, *(1,) * (x.dim() - 2))
        y: Tensor = _Rectified.apply(x, threshold, self.thre_decay, self.name)  # type: ignore[no-untyped-call]
        return y
