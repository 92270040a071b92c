"""The SUM of two blobs and the ReLU behind it by compiled loops; torch's way is in eltwise.py and activation.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caffe_compat.layers.handed import Handed, marked
from caffe_compat.layers.looped import is_plain, loops_for

if TYPE_CHECKING:
    from caffe_compat.layers.caffe.activation import ReLU
    from caffe_compat.layers.caffe.eltwise import Eltwise

_VECTOR = 16


@dataclass(frozen=True, eq=False)
class RectifiedSum:
    """An Eltwise that adds its two bottoms, and the ReLU behind it, which it computes too; net/chains.py finds them.

    owns_gradient: nobody else holds the gradient of the top.
    """

    eltwise: Eltwise
    relu: ReLU
    owns_gradient: bool

    def join(self) -> None:
        """Have the Eltwise compute both until `part`."""
        vars(self.eltwise)["chain"], vars(self.relu)["is_done"] = self, True

    def part(self) -> None:
        """Have each layer compute its own top."""
        vars(self.eltwise)["chain"], vars(self.relu)["is_done"] = None, False

    def finished(self, *bottoms: Tensor) -> Tensor:
        """What the Eltwise gives."""
        top = rectified_sum_by_loop(bottoms[0], bottoms[1], self.owns_gradient)
        return self.relu.rectified(self.eltwise.sum(bottoms)) if top is None else top


def rectified_sum_by_loop(first: Tensor, second: Tensor, owns_gradient: bool) -> Tensor | None:
    """max(first + second, 0); None where no loop may read both."""
    loops = loops_for("sums", first, 1)
    if loops is None or first.numel() % _VECTOR or type(second) is not Tensor or first.shape != second.shape:
        return None
    if second.dtype != torch.float32 or not (second.is_cpu and is_plain(second)):
        return None
    if not second.is_contiguous(memory_format=torch.channels_last):
        return None
    handed = Handed()
    top: Tensor = _RectifiedSum.apply((loops, handed, owns_gradient), first, second)  # type: ignore[no-untyped-call]
    return marked(top, handed)


class _RectifiedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: Any, first: Tensor, second: Tensor) -> Tensor:
        top, size = torch.empty_like(first), first.numel()
        how[0].rectified_sum(size, first.data_ptr(), second.data_ptr(), size, top.data_ptr())
        ctx.how = how
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(top)
        return top

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (loops, handed, owns_gradient), (top,) = ctx.how, ctx.saved_tensors
        gathered = handed.gathered(gradients[0], torch.channels_last, owns_gradient, True)
        if gathered is None:
            return None, None, None
        gradient, more, _ = gathered
        size, other = gradient.numel(), 0 if more is None else more.data_ptr()
        loops.masked_gradient(size, gradient.data_ptr(), size, top.data_ptr(), other)
        return None, gradient if ctx.needs_input_grad[1] else None, gradient if ctx.needs_input_grad[2] else None
