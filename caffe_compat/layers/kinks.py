"""Functions with a kink, each with the gradient that Caffe takes there; torch's own at a tie differs by version."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.function import Function
from caffe_compat.layers.looped import is_transformed


class _Absolute(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.abs()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] * x.sign()
        return gradient


def absolute(x: Tensor) -> Tensor:
    """|x|; the gradient at 0 is 0, as of caffe_cpu_sign."""
    top: Tensor = _Absolute.apply(x)  # type: ignore[no-untyped-call]
    return top


class _Clipped(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ends = low, high
        return x.clamp(max=high).clamp(min=low)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,), (low, high) = ctx.saved_tensors, ctx.ends
        return torch.where((x >= low) & (x <= high), gradients[0], 0), None, None


def clipped(x: Tensor, low: float, high: float) -> Tensor:
    """max(low, min(x, high)); the gradient passes where low <= x <= high, both ends included."""
    top: Tensor = _Clipped.apply(x, low, high)  # type: ignore[no-untyped-call]
    return top


class _HardSwish(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, closed: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.closed = closed
        return x * (x + 3).clamp(0, 6) / 6

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        below, above = (x < -3, x > 3) if ctx.closed else (x <= -3, x >= 3)
        slope = torch.where(above, 1, torch.where(below, 0, (2 * x + 3) / 6))
        return gradients[0] * slope, None


def hard_swish(x: Tensor, closed: bool) -> Tensor:
    """x * min(max(x + 3, 0), 6) / 6; at -3 and 3 the gradient is that of the middle where `closed`, else 0 and 1."""
    top: Tensor = _HardSwish.apply(x, closed)  # type: ignore[no-untyped-call]
    return top


class _HardSigmoid(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float, beta: float) -> Tensor:
        line = alpha * x + beta
        ctx.save_for_backward((line > 0) & (line < 1))
        ctx.alpha = alpha
        return line.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (between,) = ctx.saved_tensors
        return ctx.alpha * gradients[0] * between, None, None


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """max(0, min(1, alpha * x + beta)); the gradient is alpha between the kinks, and 0 at them."""
    top: Tensor = _HardSigmoid.apply(x, alpha, beta)  # type: ignore[no-untyped-call]
    return top


class _Length(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, epsilon: float) -> Tensor:
        top = x.square().sum(axis, keepdim=True).sqrt_()
        ctx.save_for_backward(x, top)
        ctx.epsilon = epsilon
        return top

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, top = ctx.saved_tensors
        return gradients[0] * x / (top + ctx.epsilon), None, None


def length(x: Tensor, axis: int, epsilon: float) -> Tensor:
    """sqrt(sum(x^2)) along `axis`, which stays with size 1; the gradient is x / (length + epsilon), and so 0 at 0."""
    top: Tensor = _Length.apply(x, axis, epsilon)  # type: ignore[no-untyped-call]
    return top


def root(x: Tensor) -> Tensor:
    """sqrt(x); the gradient at 0 is 0, not infinite."""
    if torch.compiler.is_compiling() or not (x.requires_grad or is_transformed()):
        return x.sqrt()
    is_there = x != 0
    return torch.where(is_there, torch.where(is_there, x, 1).sqrt(), 0)
