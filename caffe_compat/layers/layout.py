"""How activations lie in memory: on a CPU with the channels innermost, where torch's kernels for planes are fastest."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(bottom: Tensor) -> Tensor:
    """`bottom` as it is, or on a CPU a (batch, channels, height, width) one in torch.channels_last."""
    if bottom.dim() != 4 or bottom.device.type != "cpu":
        return bottom
    if bottom.shape[1] == 1 and bottom.is_contiguous():
        # one channel lies the same either way; only its strides tell the next layer which is meant
        batch, _, height, width = bottom.shape
        return bottom.view(batch, height, width, 1).permute(0, 3, 1, 2)
    return bottom.contiguous(memory_format=torch.channels_last)
