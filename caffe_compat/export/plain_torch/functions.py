"""What torch.nn has no module for, in torch alone; the functions that a model needs are copied into its model.py."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def padded_max_pool(x: Tensor, kernel: list[int], stride: list[int], before: list[int], after: list[int]) -> Tensor:
    """Maximum of windows over x (batch, channels, height, width); Caffe's pads may be larger than half a kernel."""
    padded = functional.pad(x, (before[1], after[1], before[0], after[0]), value=float("-inf"))
    return functional.max_pool2d(padded, kernel, stride)


def larger(a: Tensor, b: Tensor) -> Tensor:
    """The larger of each pair; where both are the same it is b's, and all of the gradient goes there."""
    return torch.where(a > b, a, b)


def lrn_within_channel(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """x / (1 + alpha * mean of x^2 over size x size neighbours)^beta, zeros beyond the edges; Caffe takes 1 for k."""
    return x * (1 + alpha * functional.avg_pool2d(x * x, size, 1, size // 2)) ** -beta


def mvn(x: Tensor, axes: list[int], variance: bool, eps: float) -> Tensor:
    """x less its mean over `axes`, divided by its standard deviation + eps where `variance` is asked for."""
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True).sqrt() + eps) if variance else centred


def l2_normalize(x: Tensor, axes: list[int], eps: float) -> Tensor:
    """x over its length along `axes`: x / sqrt(sum of x^2 + eps)."""
    return x / (torch.sum(x * x, axes, keepdim=True) + eps).sqrt()


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Channels of `groups` groups dealt out in turn, one of each group after another."""
    return torch.unflatten(x, 1, (groups, -1)).transpose(1, 2).flatten(1, 2)
