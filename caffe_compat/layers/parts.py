"""An inner product whose weight gradient may be handed over some rows at a time, and is never there as a whole then."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

_PART = 1 << 22  # values of a gradient that are made at a time


class Taker(Protocol):
    """Who takes a gradient in parts; asked before each backward pass."""

    def wants_parts(self) -> bool:
        """Whether to hand over the parts; else the gradient goes where gradients go."""

    def take(self, rows: slice, gradient: Tensor) -> None:
        """The gradient of these rows of the weight, whole for this pass; the weight may change now."""


def inner_product(bottom: Tensor, weight: Tensor, bias: Tensor | None, taker: Taker) -> Tensor:
    """F.linear of (..., inputs) and (outputs, inputs), whose weight gradient `taker` may get."""
    top: Tensor = _InParts.apply(bottom, weight, bias, taker)  # type: ignore[no-untyped-call]
    return top


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bottom: Tensor, weight: Tensor, bias: Tensor | None, taker: Taker) -> Tensor:
        ctx.save_for_backward(bottom, weight)
        ctx.taker = taker
        return F.linear(bottom, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        bottom, weight = ctx.saved_tensors
        top = gradients[0].reshape(-1, weight.shape[0])
        below = top.mm(weight).view(bottom.shape) if ctx.needs_input_grad[0] else None
        beside = top.sum(0) if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[1]:
            return below, None, beside, None
        values = bottom.reshape(-1, weight.shape[1])
        if not ctx.taker.wants_parts():
            return below, top.t().mm(values), beside, None
        count = max(1, _PART // weight.shape[1])
        for start in range(0, len(weight), count):
            rows = slice(start, min(start + count, len(weight)))
            ctx.taker.take(rows, top[:, rows].t().mm(values))
        return below, None, beside, None
