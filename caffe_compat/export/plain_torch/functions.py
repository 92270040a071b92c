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


def over_fixed_length(x: Tensor, length: float) -> Tensor:
    """x over the length of its channels, such that their squares sum to `length`; gradients take that for fixed."""
    lengths = (torch.sum(x * x, 1, keepdim=True) / length).sqrt().detach()
    return x / torch.where(lengths == 0, torch.ones_like(lengths), lengths)


def mirrored(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """x with its first and last slices along `axis` put around it, turned about the edge."""
    last = x.narrow(axis, x.shape[axis] - after, after)
    return torch.cat((x.narrow(axis, 0, before).flip(axis), x, last.flip(axis)), axis)


def region(x: Tensor, boxes: int, coords: int, classes: int, softmax: bool) -> Tensor:
    """Boxes of a YOLO head: place, objectness and classes as probabilities; width and height as they are."""
    parts = x.reshape(x.shape[0], boxes, -1, *x.shape[2:])
    places, sizes, certain, scores = torch.split(parts, [2, coords - 2, 1, classes], 2)
    scores = scores.softmax(2) if softmax else scores.sigmoid()
    return torch.cat((places.sigmoid(), sizes, certain.sigmoid(), scores), 2)


def unpool(x: Tensor, mask: Tensor, height: int, width: int) -> Tensor:
    """Every value put where `mask` says in a plane of zeros, counted along its rows."""
    planes = x.new_zeros((*x.shape[:2], height * width))
    return torch.scatter(planes, 2, mask.flatten(2).long(), x.flatten(2)).view(*x.shape[:2], height, width)


def largest(x: Tensor, axis: int, count: int) -> tuple[Tensor, Tensor]:
    """The places and values of the `count` largest along `axis`; of equal ones the last comes first."""
    values, places = torch.sort(x.detach().flip(axis), dim=axis, descending=True, stable=True)
    places = (x.shape[axis] - 1 - places).to(x.dtype)
    return places.narrow(axis, 0, count), values.narrow(axis, 0, count)
