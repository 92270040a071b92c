"""Several layers that work value by value, or over whole axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe_compat.export.runtimes.place import axis_of
from caffe_compat.export.runtimes.rewriting import Draft, Inexpressible, form, needed_blobs


@form("clip")
def clip(draft: Draft) -> None:
    """max(x, min), then -max(-x, -max): an Eltwise MAX beside a constant, twice."""
    fields = draft.place.param.clip_param
    floor = draft.power(draft.bottoms[0], scale=0, shift=fields.min)
    _, above = draft.add("Eltwise", [draft.bottoms[0], floor])
    draft.layers[-1].eltwise_param.operation = draft.layers[-1].eltwise_param.MAX
    turned = draft.power(above, scale=-1)
    ceiling = draft.power(above, scale=0, shift=-fields.max)
    _, below = draft.add("Eltwise", [turned, ceiling])
    draft.layers[-1].eltwise_param.operation = draft.layers[-1].eltwise_param.MAX
    draft.power(below, last=True, scale=-1)


@form("swish")
def swish(draft: Draft) -> None:
    """x times the Sigmoid of beta x."""
    beta = draft.place.param.swish_param.beta if "swish_param" in draft.place.param.DESCRIPTOR.fields_by_name else 1.0
    inner = draft.bottoms[0] if beta == 1 else draft.power(draft.bottoms[0], scale=beta)
    _, slope = draft.add("Sigmoid", inner)
    product_of(draft, [draft.bottoms[0], slope])


@form("hard-swish")
def hard_swish(draft: Draft) -> None:
    """x ReLU6(x + 3) / 6."""
    _, slope = draft.add("ReLU6", draft.power(draft.bottoms[0], shift=3))
    product_of(draft, [draft.bottoms[0], draft.power(slope, scale=1 / 6)])


def product_of(draft: Draft, bottoms: list[str]) -> None:
    """The last layer: the product of blobs of one shape."""
    layer, _ = draft.add("Eltwise", bottoms, last=True)
    layer.eltwise_param.operation = layer.eltwise_param.PROD


@form("tile")
def tile(draft: Draft) -> None:
    """A Concat of the bottom and the bottom again."""
    fields = draft.place.param.tile_param
    layer, _ = draft.add("Concat", [draft.bottoms[0]] * fields.tiles, last=True)
    layer.concat_param.axis = axis_of(fields.axis, draft.shape)


@form("factors")
def factors(draft: Draft) -> None:
    """A sum with factors as a plain sum of Powers."""
    given = list(draft.place.param.eltwise_param.coeff)
    pairs = list(zip(draft.bottoms, given, strict=True))
    draft.bottoms = [name if factor == 1 else draft.power(name, scale=factor) for name, factor in pairs]
    draft.same().eltwise_param.coeff[:] = []


@form("lrn-k")
def lrn_k(draft: Draft) -> None:
    """(k + a)^-b as k^-b (1 + a / k)^-b."""
    fields = draft.place.param.lrn_param
    if fields.k <= 0:
        raise Inexpressible(f"k is {fields.k:g}")
    factor = fields.k**-fields.beta
    layer = draft.same()
    layer.lrn_param.alpha = fields.alpha / fields.k
    layer.lrn_param.ClearField("k")
    top = draft.free(f"{layer.name}_unscaled")
    layer.top[:] = [top]
    draft.power(top, last=True, scale=factor)


@form("log-alone")
def log_alone(draft: Draft) -> None:
    """Scale and shift before, the base after a plain ln."""
    fields = draft.place.param.log_param
    inner = draft.bottoms[0]
    if fields.scale != 1 or fields.shift != 0:
        inner = draft.power(inner, scale=fields.scale, shift=fields.shift)
    if fields.base <= 0:
        draft.add("Log", inner, last=True)
        return
    _, plain = draft.add("Log", inner)
    draft.power(plain, last=True, scale=1 / math.log(fields.base))


@form("mvn")
def mvn(draft: Draft) -> None:
    """(x - mean) / (sqrt(mean of (x - mean)^2) + eps), each step a layer.

    The mean of the squares is a Pooling over the plane, of all channels a Convolution behind it; a Deconvolution with
    ones spreads the factor over the plane again.
    """
    fields = draft.place.param.mvn_param
    if len(draft.shape) != 4:
        raise Inexpressible("its bottom has other than four axes")
    channels, height, width = draft.shape[1:]
    centred, mean = draft.add("MVN", draft.bottoms[0], word="centred")
    centred.mvn_param.normalize_variance = False
    centred.mvn_param.across_channels = fields.across_channels
    pooled, spread = draft.add("Pooling", draft.power(mean, power=2))
    pooled.pooling_param.pool = pooled.pooling_param.AVE
    pooled.pooling_param.global_pooling = True
    if fields.across_channels:
        weight = np.full((channels, channels, 1, 1), 1 / channels, np.float32)
        joined, spread = draft.add("Convolution", spread, blobs=(weight,))
        joined.convolution_param.num_output, joined.convolution_param.bias_term = channels, False
        joined.convolution_param.kernel_size[:] = [1]
    deviation = draft.power(spread, power=0.5)
    factor = draft.power(deviation, power=-1, shift=fields.eps)
    product_of(draft, [mean, spread_over_plane(draft, factor, channels, height, width)])


def spread_over_plane(draft: Draft, bottom: str, channels: int, height: int, width: int) -> str:
    """(batch, channels, 1, 1) repeated over a plane, by a Deconvolution of each channel with ones; its top."""
    if height == width == 1:
        return bottom
    ones = np.ones((channels, 1, height, width), np.float32)
    layer, top = draft.add("Deconvolution", bottom, blobs=(ones,), word="spread")
    fields = layer.convolution_param
    fields.num_output = fields.group = channels
    fields.bias_term = False
    fields.kernel_h, fields.kernel_w = height, width
    return top


@form("reduction-factor")
def reduction_factor(draft: Draft) -> None:
    """The coefficient as a Power behind."""
    layer = draft.same()
    factor = layer.reduction_param.coeff
    layer.reduction_param.ClearField("coeff")
    top = draft.free(f"{layer.name}_unscaled")
    layer.top[:] = [top]
    draft.power(top, last=True, scale=factor)


@form("reduction")
def reduction(draft: Draft) -> None:
    """An InnerProduct with equal weights, behind an AbsVal or a square where the operation asks for one.

    What Caffe gives without axes has one of size 1, for runtimes know no blob without axes.
    """
    fields = draft.place.param.reduction_param
    axis = axis_of(fields.axis, draft.shape)
    count = math.prod(draft.shape[axis:])
    bottom = draft.bottoms[0]
    if fields.operation == fields.ASUM:
        _, bottom = draft.add("AbsVal", bottom)
    if fields.operation == fields.SUMSQ:
        bottom = draft.power(bottom, power=2)
    rows = draft.reshape(bottom, [-1, count])
    factor = fields.coeff / count if fields.operation == fields.MEAN else fields.coeff
    layer, sums = draft.add("InnerProduct", rows, blobs=(np.full((1, count), factor, np.float32),))
    layer.inner_product_param.num_output, layer.inner_product_param.bias_term = 1, False
    draft.reshape(sums, list(draft.result) or [1], last=True)


@form("normalize")
def normalize(draft: Draft) -> None:
    """x (sum of x^2 + eps)^-1/2 with a factor a channel, each step a layer: Normalize over the whole image."""
    fields = draft.place.param.norm_param
    channels, height, width = draft.shape[1:]
    (factors,) = needed_blobs(draft, 1)
    pooled, mean = draft.add("Pooling", draft.power(draft.bottoms[0], power=2))
    pooled.pooling_param.pool = pooled.pooling_param.AVE
    pooled.pooling_param.global_pooling = True
    weight = np.full((channels, channels, 1, 1), height * width, np.float32)
    joined, total = draft.add("Convolution", mean, blobs=(weight,))
    joined.convolution_param.num_output, joined.convolution_param.bias_term = channels, False
    joined.convolution_param.kernel_size[:] = [1]
    inverse = draft.power(total, power=-0.5, shift=fields.eps)
    weights = np.broadcast_to(factors.reshape(-1), (channels,))
    _, factor = draft.add("Scale", inverse, blobs=(weights,))
    product_of(draft, [draft.bottoms[0], spread_over_plane(draft, factor, channels, height, width)])


@form("identities")
def identities(draft: Draft) -> None:
    """Every top of a Split by a maximum of its bottom with itself, of which MNN does not make one."""
    for top in draft.tops:
        _larger_of_itself(draft, draft.bottoms[0], top).top[:] = [top]


@form("on-a-copy")
def on_a_copy(draft: Draft) -> None:
    """The layer on the maximum of its bottom with itself."""
    copy = _larger_of_itself(draft, draft.bottoms[0], "copy")
    layer = draft.same()
    layer.bottom[0] = copy.top[0]


def _larger_of_itself(draft: Draft, bottom: str, word: str) -> Any:
    layer, _ = draft.add("Eltwise", [bottom, bottom], word=word)
    layer.eltwise_param.operation = layer.eltwise_param.MAX
    return layer
