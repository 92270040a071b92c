"""Convolutions whose filters read only some of their inputs (Changpinyo et al., arXiv:1702.06257), not in Caffe 1.0.

connection_density is the share of the channels of its group that each filter reads, max(1, round(density channels))
of them, drawn at random once; connection_mask names a .binaryproto of (num_output, channels / group) with 1 where there
is a connection. No authors' code is public.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import CaffeCompatError, DataError, UnsupportedParameterError
from caffe_compat.layers.base import Context
from caffe_compat.proto.binary import read_blob
from caffe_compat.proto.files import find_file

BY_FAN_IN = ("xavier", "msra")  # fillers whose spread follows the inputs of a filter


def connections_of(param: Any, outputs: int, channels: int, context: Context) -> Tensor | None:
    """(outputs, channels) bool for a LayerParameter, channels being those of a group; None where all are there."""
    settings = param.convolution_param
    if settings.connection_mask:
        return _read(param.name, settings.connection_mask, outputs, channels, context)
    density = settings.connection_density
    if not 0 < density <= 1:
        raise UnsupportedParameterError(
            f"layer '{param.name}': connection_density is {density:g}; wanted more than 0 and at most 1"
        )
    if density == 1 or (settings.connection_seed < 0 and context.phase == "TEST"):
        return None  # a mask of chance is that of the training net, whose weights are 0 where it is
    return draw(outputs, channels, density, settings.connection_seed)


@torch.no_grad()
def cut_off(weight: Tensor, mask: Tensor, filler: str) -> None:
    """Set the weights without connection to 0, in place; those of `filler` by fan-in spread as the inputs left ask."""
    if weight.device.type == "meta":
        return
    if filler in BY_FAN_IN:
        weight *= math.sqrt(mask.shape[1] / float(mask.sum(1).double().mean()))
    weight *= mask[(..., *[None] * (weight.dim() - 2))]


def count(channels: int, density: float) -> int:
    """How many of `channels` inputs each filter reads."""
    return max(1, round(density * channels))


def draw(outputs: int, channels: int, density: float, seed: int = -1) -> Tensor:
    """A random mask, (outputs, channels) bool; a seed below 0 draws from torch's own generator."""
    generator = torch.Generator(device="cpu").manual_seed(seed) if seed >= 0 else None
    places = torch.rand((outputs, channels), generator=generator, device="cpu").argsort(1)
    return places < count(channels, density)


def grow(mask: Tensor, density: float) -> Tensor:
    """`mask` with random connections added to each filter until it has its share; those that are there stay."""
    order = torch.rand(mask.shape) - mask.float().cpu()  # below 0 where there is one
    return mask | (order.argsort(1).argsort(1) < count(mask.shape[1], density)).to(mask.device)


def _read(layer: str, name: str, outputs: int, channels: int, context: Context) -> Tensor:
    where = f"layer '{layer}': connection_mask"
    try:
        values = read_blob(find_file(name, context.folder, named_by=where))
    except CaffeCompatError as error:
        raise DataError(f"{where} '{name}': {error}") from None
    if values.size != outputs * channels:
        raise DataError(f"{where} '{name}' is {values.shape}; wanted ({outputs}, {channels})")
    mask = torch.from_numpy(values.reshape(outputs, channels) != 0)
    if not bool(mask.any(1).all()):
        raise DataError(f"{where} '{name}' leaves a filter without any input; give each one at least")
    return mask
