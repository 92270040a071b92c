"""Soft thresholds of the paper's fork: Sparsify and SymmetricRectify (layer files of wenwei202/caffe, branch sfm).

Their gradients are not the derivatives of their tops; they come from the top alone, for both may work in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.caffe.activation import Elementwise
from caffe_compat.layers.registry import register


class _Sparsified(torch.autograd.Function):
    """softshrink(x, threshold), with gradient dy + coefficient * sign(y), masked by y != 0 if there is a threshold."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float, coefficient: float) -> Tensor:
        y = functional.softshrink(x, threshold) if threshold else x.clone()
        ctx.threshold, ctx.coefficient = threshold, coefficient
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        gradient = gradients[0] + ctx.coefficient * y.sign()
        return torch.where(y != 0, gradient, 0) if ctx.threshold else gradient, None, None


@register("Sparsify")
class Sparsify(Elementwise):
    """0 where |x| <= thre, else x moved by thre towards 0.

    The gradient also gets coef * sign(top), an L1 pull on the activations: per element, not divided by the batch size,
    and not part of the loss that is shown.
    """

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
        y: Tensor = _Sparsified.apply(bottoms[0], self.thre, self.coef)  # type: ignore[no-untyped-call]
        return y


class _Rectified(torch.autograd.Function):
    """Soft thresholding: dx = dy * (y != 0); the threshold's gradient is minus sum(dy * sign(y)) minus `decay`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, decay: float) -> Tensor:
        y = x.sign() * (x.abs() - threshold).clamp(min=0)
        ctx.threshold_shape, ctx.decay = threshold.shape, decay
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        pull = -(gradients[0] * y.sign()).sum_to_size(ctx.threshold_shape) - ctx.decay
        return torch.where(y != 0, gradients[0], 0), pull, None


@register("SymmetricRectify")
class SymmetricRectify(Elementwise):
    """Soft thresholding with learnable thresholds: one a channel (axis 1), or one in all; 0 by default.

    `forward` sets negative thresholds to 0 in the blob itself. thre_decay is subtracted from the gradient of every
    threshold, which pushes thresholds up and so makes the activations sparser.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.channel_shared: bool = param.symmetric_rectify_param.channel_shared
        self.thre_decay: float = param.symmetric_rectify_param.thre_decay

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = bottom_shapes[0]
        if len(shape) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} has no axis 1 for the channels")
        self.add_blob(() if self.channel_shared else (shape[1],), self.param.symmetric_rectify_param.filler)
        if self.context.fills and (self.blobs[0] < 0).any():
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
        y: Tensor = _Rectified.apply(x, threshold, self.thre_decay)  # type: ignore[no-untyped-call]
        return y
