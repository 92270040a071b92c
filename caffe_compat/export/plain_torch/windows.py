"""Layers that look through windows or mix channels, as torch.nn."""

from __future__ import annotations

from typing import Any

from caffe_compat.export.plain_torch.source import Call, number, one_or_all, options, writes
from caffe_compat.export.writers import Inexpressible
from caffe_compat.layers.windows import Windows


@writes("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(call: Call) -> None:
    _filter_bank(call, "Conv", 1)


@writes("Deconvolution")
def deconvolution(call: Call) -> None:
    _filter_bank(call, "ConvTranspose", 0)


def _filter_bank(call: Call, kind: str, inputs_axis: int) -> None:
    layer = call.layer
    windows: Windows = layer.windows
    axes = len(windows.kernel)
    if layer.axis != 1 or not 1 <= axes <= 3:
        raise Inexpressible(f"its channels are axis {layer.axis} and its windows have {axes} axes")
    shape = layer.blob_shapes[0]
    channels = [shape[0], shape[1] * layer.group] if inputs_axis == 0 else [shape[1] * layer.group, shape[0]]
    fields = options(
        kernel_size=one_or_all(windows.kernel),
        stride=None if set(windows.stride) == {1} else one_or_all(windows.stride),
        padding=None if set(windows.pad) == {0} else one_or_all(windows.pad),
        dilation=None if set(windows.dilation) == {1} else one_or_all(windows.dilation),
        groups=None if layer.group == 1 else layer.group,
        bias=None if len(layer.blobs) > 1 else False,
    )
    blobs = {"weight": 0, "bias": 1} if len(layer.blobs) > 1 else {"weight": 0}
    call.applied(f"nn.{kind}{axes}d({channels[0]}, {channels[1]}, {fields})", **blobs)


@writes("InnerProduct")
def inner_product(call: Call) -> None:
    layer = call.layer
    if layer.transpose and layer.param.param and layer.param.param[0].name:
        raise Inexpressible("its weight is shared and transposed")
    weight: Any = call.blob(0).reshape(layer.inputs, layer.outputs).T if layer.transpose else 0
    blobs = {"weight": weight, "bias": 1} if len(layer.blobs) > 1 else {"weight": weight}
    without = "" if len(layer.blobs) > 1 else ", bias=False"
    called = call.module(f"nn.Linear({layer.inputs}, {layer.outputs}{without})", **blobs)
    flat = len(call.bottoms[0]) == layer.axis + 1
    call.says(f"{called}({call.inputs[0] if flat else f'torch.flatten({call.inputs[0]}, {layer.axis})'})")


@writes("Pooling")
def pooling(call: Call) -> None:
    layer = call.layer
    if layer.pool == "STOCHASTIC":
        raise Inexpressible("pool is STOCHASTIC")
    if len(call.outputs) > 1:
        raise Inexpressible("its second top is the mask of Caffe's indices")
    plan = layer.plan(call.bottoms[0])
    if layer.param.pooling_param.global_pooling:
        call.applied(f"nn.Adaptive{'Max' if layer.pool == 'MAX' else 'Avg'}Pool2d(1)")
        return
    windows: Windows = plan.windows
    if plan.ceil_mode is None:
        if layer.pool != "MAX":
            raise Inexpressible("its pad is more than half its kernel")
        sizes = (list(windows.kernel), list(windows.stride), list(windows.pad), _after(plan))
        call.says(call.function("padded_max_pool", call.inputs[0], *sizes))
        return
    fields = options(
        stride=one_or_all(windows.stride),
        padding=None if set(windows.pad) == {0} else one_or_all(windows.pad),
        ceil_mode=True if layer.ceil else None,
    )
    call.applied(f"nn.{'Max' if layer.pool == 'MAX' else 'Avg'}Pool2d({one_or_all(windows.kernel)!r}, {fields})")


def _after(plan: Any) -> list[int]:
    """How far the last window reaches beyond the image on each axis."""
    windows = plan.windows
    terms = zip(plan.output, plan.size, windows.kernel, windows.stride, windows.pad, strict=True)
    return [max((out - 1) * stride + kernel - n - pad, 0) for out, n, kernel, stride, pad in terms]


@writes("LRN")
def lrn(call: Call) -> None:
    rule = call.layer.rule
    if rule.within:
        call.says(call.function("lrn_within_channel", call.inputs[0], rule.size, number(rule.alpha), number(rule.beta)))
        return
    call.applied(f"nn.LocalResponseNorm({rule.size}, {number(rule.alpha)}, {number(rule.beta)}, {number(rule.k)})")


@writes("Interp")
def interp(call: Call) -> None:
    first, last = call.layer.crop
    value = call.inputs[0]
    if first or last:
        height, width = call.bottoms[0][2:]
        value += f"[:, :, {first}:{height - last}, {first}:{width - last}]"
    size = list(call.tops[0][2:])
    call.says(f"functional.interpolate({value}, {size}, mode='bilinear', align_corners=True)")
