"""Convolution with fewer wasted vector lanes, for banks whose filters in a group are no multiple of 16.

A CPU with AVX-512 computes 16 filters at a time, so that 53 cost as much as 64, and its library is at its best with
blocks of 64. What ranks leave over is computed here in another form, the same sums in another order:

- by columns: of 53 filters 48 go the usual way. Of the 5 others every column of the kernel becomes a filter of its own,
  15 for 3 columns, whose responses are shifted and added.
- padded: 124 filters are made 128 by filters of zeros, whose responses are dropped.

Figures on two threads, 384 channels in two groups, 53 filters of 3x3 a group, 64 images of 13x13: as it is 22.3 ms,
padded 20.6, by columns 18.7.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.layers.windows import Windows

LANES = 16  # float32 numbers in a vector of AVX-512
BLOCK = 64  # filters that the library takes together where it can
LEAST_WORK = 2**27  # multiply-adds that one vector of filters costs; below, more calls cost more than they save
LEAST_VALUES = 512  # of a filter; below, copying the responses costs more than it saves

Form = Callable[[Tensor, Tensor, Tensor | None, Windows, int], Tensor]


def _split(tensor: Tensor, axis: int, *sizes: int) -> Tensor:
    """`tensor` with `axis` as several of `sizes`."""
    return tensor.reshape(*tensor.shape[:axis], *sizes, *tensor.shape[axis + 1 :])


def faster_form(bottom: Tensor, weight: Tensor, windows: Windows, group: int) -> Form | None:
    """The form that is faster than the library's own for these, if any: without gradients, on a CPU with AVX-512."""
    if torch.is_grad_enabled() or weight.dim() != 4 or torch.compiler.is_compiling():
        return None
    if bottom.device.type != "cpu" or bottom.dtype != torch.float32 or weight[0].numel() < LEAST_VALUES:
        return None
    if not bottom.is_contiguous(memory_format=torch.channels_last):
        return None
    own, columns = len(weight) // group, weight.shape[3]
    work = bottom[:, 0].numel() * LANES * weight[0].numel() * group // (windows.stride[0] * windows.stride[1])
    if own % LANES == 0 or work < LEAST_WORK or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return None
    keeps_width = windows.stride[1] == 1 and 2 * windows.pad[1] == windows.dilation[1] * (columns - 1)
    if keeps_width and columns % 2 and own > LANES and own % LANES * columns <= LANES:
        return convolve_by_columns
    return convolve_padded if 0 < -own % BLOCK < LANES else None


def convolve_by_columns(bottom: Tensor, weight: Tensor, bias: Tensor | None, windows: Windows, group: int) -> Tensor:
    """(batch, channels, height, width) to (batch, filters, output height, width), in torch.channels_last.

    weight: (filters, channels / group, height, width) of an odd number of columns; the width is kept.
    """
    own, columns = len(weight) // group, weight.shape[3]
    full = own - own % LANES
    bank = _split(weight, 0, group, own)
    wide = F.conv2d(bottom, bank[:, :full].flatten(0, 1), None, windows.stride, windows.pad, windows.dilation, group)
    narrow = F.conv2d(
        bottom,
        bank[:, full:].permute(0, 4, 1, 2, 3).flatten(0, 2).unsqueeze(3),
        None,
        (windows.stride[0], 1),
        (windows.pad[0], 0),
        (windows.dilation[0], 1),
        group,
    )
    top = wide.new_empty(len(wide), *wide.shape[2:], group, own)  # the channels innermost
    top[..., :full] = _split(wide.permute(0, 2, 3, 1), 3, group, full)
    shifted = _split(narrow.permute(0, 2, 3, 1), 3, group, columns, own - full)
    rest = top[..., full:].copy_(shifted[..., columns // 2, :])
    for column in range(columns):
        step = (column - columns // 2) * windows.dilation[1]
        if step < 0:
            rest[:, :, -step:] += shifted[:, :, :step, :, column]
        elif step > 0:
            rest[:, :, :-step] += shifted[:, :, step:, :, column]
    if bias is not None:
        top += _split(bias, 0, group, own)
    return top.flatten(3).permute(0, 3, 1, 2)


def convolve_padded(bottom: Tensor, weight: Tensor, bias: Tensor | None, windows: Windows, group: int) -> Tensor:
    """As `convolve_by_columns`, of any kernel and stride."""
    own = len(weight) // group
    zeros = weight.new_zeros(group, -own % LANES, *weight.shape[1:])
    bank = torch.cat([_split(weight, 0, group, own), zeros], dim=1).flatten(0, 1)
    if bias is not None:
        bias = F.pad(_split(bias, 0, group, own), (0, -own % LANES)).flatten()
    whole = F.conv2d(bottom, bank, bias, windows.stride, windows.pad, windows.dilation, group)
    kept = _split(whole.permute(0, 2, 3, 1), 3, group, -1)[..., :own]
    return kept.flatten(3).contiguous().permute(0, 3, 1, 2)
