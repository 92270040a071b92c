"""Gradients that do not go by autograd, but from a reader of a blob to the layer that made it.

A blob with several readers has a gradient from each, which autograd adds in a pass of its own over memory. What a sum
hands down, or a second convolution, is left with the maker instead, which adds it in the pass in which it reads the
rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_NAME = "_handed_down"


class Handed:
    """Of a top: the part of its gradient that readers have left. Nobody else holds it."""

    def __init__(self) -> None:
        self._gradient: Tensor | None = None

    def put(self, gradient: Tensor) -> None:
        """Leave a gradient that nobody else holds."""
        self._gradient = gradient if self._gradient is None else self._gradient.add_(gradient)

    def gathered(
        self, found: Tensor | None, layout: torch.memory_format, is_owned: bool, writes: bool
    ) -> tuple[Tensor, Tensor | None, bool] | None:
        """The gradient, another part of it, and whether the first may be written on; None where there is no gradient.

        found: what came by autograd, which nobody else holds where `is_owned`; it is returned in `layout`. writes: the
        first will be written on, and there may be another; else it is all of the gradient.
        """
        more, self._gradient = self._gradient, None
        if found is None:
            return None if more is None else (more, None, True)
        laid = found.contiguous(memory_format=layout)
        if more is not None:
            return (more, laid, True) if writes else (more.add_(laid), None, True)
        is_owned = is_owned or laid is not found
        return (laid.clone(), None, True) if writes and not is_owned else (laid, None, is_owned)


def marked(top: Tensor, handed: Handed) -> Tensor:
    """`top`, of which gradients may be left in `handed` as long as nothing is written on it."""
    if not top.is_inference():  # which has neither gradients nor a version
        vars(top)[_NAME] = handed, top._version
    return top


def handed_of(blob: Tensor) -> Handed | None:
    """Where a gradient of `blob` may be left, if its maker takes it from there."""
    handed, version = getattr(blob, _NAME, (None, None))
    return handed if handed is not None and version == blob._version else None


def aside(blob: Tensor, handed: Handed) -> Tensor:
    """`blob` for a reader whose gradient, which must be its own, is left in `handed`."""
    found: Tensor = _Aside.apply(handed, blob)  # type: ignore[no-untyped-call]
    return found


class _Aside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, handed: Handed, blob: Tensor) -> Tensor:
        ctx.handed = handed
        ctx.set_materialize_grads(False)
        return blob.view_as(blob)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, None]:
        (gradient,) = gradients
        if gradient is not None:
            ctx.handed.put(gradient.contiguous(memory_format=torch.channels_last))
        return None, None
