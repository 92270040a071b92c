"""Where the compiled loops of `caffe_compat.kernels` compute what a layer has; elsewhere torch does."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import forward_ad

from caffe_compat import kernels

LEAST_CHANNELS = 16  # that loops over images take together


def loops_for(name: str, bottom: Tensor, least_channels: int = LEAST_CHANNELS) -> ModuleType | None:
    """The module `name` of the kernels, where its loops may read `bottom`; None where they may not, or there are none.

    They read float32 images of `least_channels` or more in torch.channels_last, in a CPU's memory, and see nothing but
    numbers: no subclass of Tensor, no program being recorded, no transform of torch.func, no forward mode of autograd.
    """
    if bottom.dtype != torch.float32 or bottom.device.type != "cpu" or not is_plain(bottom):
        return None
    if bottom.dim() != 4 or bottom.shape[1] < least_channels or bottom.numel() == 0:
        return None
    return kernels.loops(name) if bottom.is_contiguous(memory_format=torch.channels_last) else None


def is_plain(tensor: Tensor) -> bool:
    """Whether what lies in memory is all that `tensor` is, and nobody watches what torch does to it."""
    if type(tensor) is not Tensor or tensor.layout is not torch.strided or torch.compiler.is_compiling():
        return False
    if tensor.is_neg() or tensor._is_zerotensor() or torch._C._functorch.is_legacy_batchedtensor(tensor):
        return False
    if torch._C._get_tracing_state() is not None or torch._C._len_torch_dispatch_stack() > 0:
        return False
    return torch._C._functorch.peek_interpreter_stack() is None and forward_ad._current_level < 0


def is_transformed() -> bool:
    """Whether a transform of torch.func is at work, which takes no gradient but torch's own."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def is_mapped() -> bool:
    """Whether torch.func.vmap is at work: nobody can look at values there."""
    if not is_transformed():
        return False
    functorch = torch._C._functorch
    return any(each.key() == functorch.TransformType.Vmap for each in functorch.get_interpreter_stack() or ())


def shows_values() -> bool:
    """Whether a layer may look at values of blobs: programs of torch.export and torch.func.vmap have none to show."""
    return not (torch.compiler.is_exporting() or is_mapped())


def is_recorded() -> bool:
    """Whether torch.export or torch.jit.trace makes a program of what is computed."""
    return torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None


def gradient_for_loops(gradient: Tensor) -> Tensor | None:
    """What loops of a backward pass may read of a gradient; None where torch is to compute, as for a second backward.

    The gradient is that of a top that loops have made of a bottom which they may read.
    """
    if torch.is_grad_enabled() or not is_plain(gradient):
        return None
    return gradient.contiguous(memory_format=torch.channels_last)


def new_images(like: Tensor, height: int, width: int) -> Tensor:
    """An empty top in torch.channels_last with the batch and the channels of `like`, of its type, where that lies.

    As all memory that loops write on: what torch makes without being told is of a type that users may set.
    """
    batch, channels = like.shape[:2]
    return like.new_empty_strided((batch, channels, height, width), _strides(channels, height, width))


def _strides(channels: int, height: int, width: int) -> tuple[int, int, int, int]:
    return height * width * channels, 1, width * channels, channels


def pixel_distance(top: Tensor) -> int:
    """How many values lie from one pixel to the next of a `top` in torch.channels_last, or of some of its channels."""
    for axis in (3, 2, 0):
        if top.shape[axis] > 1:  # else its stride may be any number
            return top.stride(axis)
    return top.shape[1]
