"""Types that a runtime does not know, as layers of Caffe's own; and its response normalization as a filter bank."""

from __future__ import annotations

import math

import numpy as np

from caffe_compat.export.runtimes.forms.elements import product_of
from caffe_compat.export.runtimes.rewriting import Draft, Inexpressible, form, needed_blobs
from caffe_compat.layers.fields import enum_name


@form("permute")
def permute(draft: Draft) -> None:
    """The axes of a Transpose as the order of a Permute."""
    layer, _ = draft.add("Permute", draft.bottoms[0], last=True)
    layer.permute_param.order[:] = draft.place.param.transpose_param.dim


@form("scale-for-bn")
def scale_for_bn(draft: Draft) -> None:
    """slope (x - mean) / sqrt(var + eps) + bias as a Scale with a bias."""
    fields = draft.place.param.bn_param
    blobs = [np.asarray(blob, np.float64).reshape(-1) for blob in needed_blobs(draft, 2)]
    if len(blobs) > 2:
        slope, bias, mean, var = blobs[:4]
        factor = slope / np.sqrt(var + fields.eps)
        blobs = [factor, bias - mean * factor]
    elif enum_name(fields, "bn_mode") != "INFERENCE":
        raise Inexpressible("it takes the statistics of the batch in TEST too")
    layer, _ = draft.add("Scale", draft.bottoms[0], last=True, blobs=(blobs[0], blobs[1]))
    layer.scale_param.bias_term = True


@form("turned-relu")
def turned_relu(draft: Draft) -> None:
    """min(x, 0) + s max(x, 0) as -ReLU(-x)."""
    slope = draft.place.param.relu_param.negative_slope
    layer, cut = draft.add("ReLU", draft.power(draft.bottoms[0], scale=-1))
    if slope:
        layer.relu_param.negative_slope = slope
    draft.power(cut, last=True, scale=-1)


@form("mish")
def mish(draft: Draft) -> None:
    """x tanh(log(1 + exp(x))): BNLL and TanH."""
    _, smooth = draft.add("BNLL", draft.bottoms[0])
    _, slope = draft.add("TanH", smooth)
    product_of(draft, [draft.bottoms[0], slope])


@form("slices-turned")
def slices_turned(draft: Draft) -> None:
    """A Slice into places and a Concat of them from the last to the first."""
    axis = draft.place.param.reverse_param.axis
    size = draft.shape[axis]
    if size == 1:
        draft.power(draft.bottoms[0], last=True)
        return
    layer, first = draft.add("Slice", draft.bottoms[0])
    tops = [first, *(draft.free(f"{first}_{number}") for number in range(1, size))]
    layer.top[:], layer.slice_param.axis = tops, axis
    layer.slice_param.slice_point[:] = range(1, size)
    joined, _ = draft.add("Concat", tops[::-1], last=True)
    joined.concat_param.axis = axis


@form("pyramid")
def pyramid(draft: Draft) -> None:
    """Each level of an SPP as a Pooling and a Flatten, joined (spp_layer.cpp, GetPoolingParam)."""
    fields = draft.place.param.spp_param
    alone, flat = fields.pyramid_height == 1, []
    for level in range(fields.pyramid_height):
        bins, sizes = 2**level, draft.shape[2:]
        layer, pooled = draft.add("Pooling", draft.bottoms[0], last=alone, word=f"pool{level}")
        pooling = layer.pooling_param
        pooling.pool = type(pooling).PoolMethod.Value(type(fields).PoolMethod.Name(fields.pool))
        kernel = [math.ceil(size / bins) for size in sizes]
        pooling.kernel_h, pooling.kernel_w = pooling.stride_h, pooling.stride_w = kernel
        pooling.pad_h, pooling.pad_w = ((k * bins - n + 1) // 2 for k, n in zip(kernel, sizes, strict=True))
        if not alone:
            flat.append(draft.add("Flatten", pooled, word=f"flat{level}")[1])
    if not alone:
        draft.add("Concat", flat, last=True)


@form("repeated-pixels")
def repeated_pixels(draft: Draft) -> None:
    """An Upsample of one bottom as a Deconvolution by ones whose windows touch, channel by channel."""
    fields = draft.place.param.upsample_param
    if len(draft.bottoms) > 1:
        raise Inexpressible("a mask says where its values go")
    kernel, channels = (fields.scale_h or fields.scale, fields.scale_w or fields.scale), draft.shape[1]
    ones = np.ones((channels, 1, *kernel), np.float32)
    layer, _ = draft.add("Deconvolution", draft.bottoms[0], last=True, blobs=(ones,))
    bank = layer.convolution_param
    bank.num_output = bank.group = channels
    bank.bias_term = False
    bank.kernel_h, bank.kernel_w = bank.stride_h, bank.stride_w = kernel


@form("lrn-filter")
def lrn_filter(draft: Draft) -> None:
    """x (k + alpha / n sum x^2)^-beta: the sum over n channels as a Convolution of 1 x 1."""
    fields, channels = draft.place.param.lrn_param, draft.shape[1]
    channel = np.arange(channels)
    near = np.abs(channel[:, None] - channel) <= fields.local_size // 2
    squares = draft.power(draft.bottoms[0], power=2)
    layer, sums = draft.add("Convolution", squares, blobs=(near[:, :, None, None].astype(np.float32),))
    layer.convolution_param.num_output, layer.convolution_param.bias_term = channels, False
    layer.convolution_param.kernel_size[:] = [1]
    factor = draft.power(sums, power=-fields.beta, scale=fields.alpha / fields.local_size, shift=fields.k)
    product_of(draft, [draft.bottoms[0], factor])
