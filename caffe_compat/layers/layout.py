"""How activations lie in memory: on a CPU with the channels innermost, where torch's kernels for planes are fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.looped import is_mapped, is_transformed

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
_chosen = ["channels_last"]  # the last one holds; a list, for torch.compile follows one


@contextmanager
def laid_out(layout: str) -> Iterator[None]:
    """Within this block Convolutions on a CPU take their bottoms in `layout`, one of LAYOUTS; for comparison."""
    if layout not in LAYOUTS:
        raise UnsupportedParameterError(f"layout is '{layout}'; known: {', '.join(LAYOUTS)}")
    _chosen.append(layout)
    try:
        yield
    finally:
        _chosen.pop()


def channels_last(bottom: Tensor) -> Tensor:
    """`bottom` as it is, or on a CPU a (batch, channels, height, width) one in torch.channels_last."""
    if bottom.dim() != 4 or bottom.device.type != "cpu":
        return bottom
    if _chosen[-1] != "channels_last" or is_mapped():  # torch.func.vmap knows no other layout
        return bottom.contiguous()
    if bottom.shape[1] == 1 and bottom.is_contiguous():
        # one channel lies the same either way; only its strides tell the next layer which is meant
        batch, _, height, width = bottom.shape
        return bottom.view(batch, height, width, 1).permute(0, 3, 1, 2)
    return bottom.contiguous(memory_format=torch.channels_last)


def flattened(bottom: Tensor, axis: int) -> Tensor:
    """`bottom` with all axes from `axis` on made one, in Caffe's order: channels before rows before columns."""
    if axis != 1 or bottom.dim() != 4 or bottom.is_contiguous() or is_transformed():
        return bottom.flatten(axis)
    flat: Tensor = _Flatten.apply(bottom)  # type: ignore[no-untyped-call]
    return flat


class _Flatten(torch.autograd.Function):
    """Flattening whose gradient has the bottom's layout; else every layer before would rearrange it for itself."""

    @staticmethod
    def forward(ctx: Any, bottom: Tensor) -> Tensor:
        ctx.shape = bottom.shape
        ctx.layout = torch.channels_last if bottom.is_contiguous(memory_format=torch.channels_last) else None
        return bottom.flatten(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        diff = gradients[0].view(ctx.shape)
        return diff if ctx.layout is None else diff.contiguous(memory_format=ctx.layout)
