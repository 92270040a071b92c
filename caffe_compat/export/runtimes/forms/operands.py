"""What multiplies or adds along some axes: Scale, Bias, Axpy."""

from __future__ import annotations

import math

import numpy as np

from caffe_compat.export.runtimes.forms.elements import spread_over_plane
from caffe_compat.export.runtimes.place import covered
from caffe_compat.export.runtimes.rewriting import Draft, Inexpressible, form, needed_blobs


@form("by-channel")
def by_channel(draft: Draft) -> None:
    """The axes that the operand covers made the channels: a Reshape, the layer, a Reshape back."""
    scales = draft.place.param.type == "Scale"
    blobs = needed_blobs(draft, 1)
    axes = covered(draft.place)
    count = math.prod(draft.shape[axis] for axis in axes)
    if not axes:
        factor, shift = (float(blobs[0].reshape(-1)[0]) if scales else 1.0), 0.0
        if not scales or len(blobs) > 1:
            shift = float(blobs[-1].reshape(-1)[0])
        draft.power(draft.bottoms[0], last=True, scale=factor, shift=shift)
        return
    rest = math.prod(draft.shape[axes.stop :])
    planes = draft.reshape(draft.bottoms[0], [-1, count, rest, 1])
    layer, made = draft.add(draft.place.param.type, planes, blobs=tuple(blob.reshape(count) for blob in blobs))
    if scales and len(blobs) > 1:
        layer.scale_param.bias_term = True
    sizes = list(draft.result)
    sizes[0] = -1 if axes.start > 0 else sizes[0]
    draft.reshape(made, sizes, last=True)


@form("scale-for-bias")
def scale_for_bias(draft: Draft) -> None:
    """A Scale by 1 that has the bias."""
    (bias,) = needed_blobs(draft, 1)
    fields = draft.place.param.bias_param
    layer, _ = draft.add("Scale", draft.bottoms[0], last=True, blobs=(np.ones_like(bias), bias), word="scale")
    layer.scale_param.bias_term = True
    layer.scale_param.axis, layer.scale_param.num_axes = fields.axis, fields.num_axes


@form("product")
def product(draft: Draft) -> None:
    """Scale and Bias of two bottoms as an Eltwise, the second spread over the first."""
    param = draft.place.param
    scales = param.type == "Scale"
    operand = _spread(draft, draft.bottoms[1], draft.place.bottoms[1], covered(draft.place))
    biased = scales and param.scale_param.bias_term
    bottom = draft.bottoms[0]
    if not biased:
        layer, _ = draft.add("Eltwise", [bottom, operand], last=True)
        layer.eltwise_param.operation = layer.eltwise_param.PROD if scales else layer.eltwise_param.SUM
        return
    layer, made = draft.add("Eltwise", [bottom, operand])
    layer.eltwise_param.operation = layer.eltwise_param.PROD
    (bias,) = needed_blobs(draft, 1)
    layer, _ = draft.add("Bias", made, last=True, blobs=(bias,))
    layer.bias_param.axis, layer.bias_param.num_axes = param.scale_param.axis, bias.ndim


def _spread(draft: Draft, name: str, shape: tuple[int, ...], axes: range) -> str:
    """The operand in the shape of the first bottom; its blob."""
    whole = draft.shape
    if tuple(shape) == tuple(whole):
        return name
    batch = axes.start == 0 or whole[0] == 1
    sizes = [whole[axis] if axis in axes else 1 for axis in range(len(whole))]
    if len(whole) != 4 or not batch or sizes[1] != whole[1] or len({sizes[2] == whole[2], sizes[3] == whole[3]}) > 1:
        raise Inexpressible(f"its operand {shape} cannot be spread over {whole}")
    planes = draft.reshape(name, sizes)
    return planes if sizes[2:] == list(whole[2:]) else spread_over_plane(draft, planes, *whole[1:])


@form("axpy")
def axpy(draft: Draft) -> None:
    """a x + y with a factor a channel (of the forks that have Axpy): the factors spread, a product, a sum."""
    factors, x, y = draft.bottoms
    channels, height, width = draft.place.bottoms[1][1:]
    planes = draft.reshape(factors, [0, channels, 1, 1])
    whole = spread_over_plane(draft, planes, channels, height, width)
    layer, scaled = draft.add("Eltwise", [x, whole])
    layer.eltwise_param.operation = layer.eltwise_param.PROD
    draft.add("Eltwise", [scaled, y], last=True)
