"""Layers that look through windows or mix channels, as ONNX: convolution, pooling, LRN, InnerProduct, resampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.export.onnx_program import Call, Inexpressible, writes
from caffe_compat.layers.windows import Windows


@writes("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(call: Call) -> None:
    _filter_bank(call, "Conv")


@writes("Deconvolution")
def deconvolution(call: Call) -> None:
    _filter_bank(call, "ConvTranspose")


def _filter_bank(call: Call, kind: str) -> None:
    """All bottoms go through the same weights."""
    layer = call.layer
    if layer.axis != 1:
        raise Inexpressible(f"its channels are axis {layer.axis}, not 1")
    windows: Windows = layer.windows
    blobs = [call.learned(index) for index in range(len(layer.blobs))]
    options: dict[str, Any] = {
        "kernel_shape": windows.kernel,
        "strides": windows.stride,
        "pads": [*windows.pad, *windows.pad],
        "dilations": windows.dilation,
        "group": layer.group,
    }
    for bottom, top in zip(call.inputs, call.outputs, strict=True):
        call.op(kind, [bottom, *blobs], top, **options)


@writes("InnerProduct")
def inner_product(call: Call) -> None:
    layer = call.layer
    rows = call.op("Flatten", [call.inputs[0]], axis=layer.axis)
    plain = layer.axis == 1
    blobs = [call.learned(index) for index in range(len(layer.blobs))]
    top = call.op("Gemm", [rows, *blobs], call.outputs[0] if plain else None, transB=int(not layer.transpose))
    if not plain:  # Flatten made one axis of all before `axis`
        call.reshape(top, [-1, *call.tops[0][1:]], call.outputs[0])


@writes("Pooling")
def pooling(call: Call) -> None:
    layer = call.layer
    if layer.pool == "STOCHASTIC":
        raise Inexpressible("pool is STOCHASTIC")
    if layer.mask:
        raise Inexpressible("its second top is the mask of Caffe's indices")
    plan = layer.plan(call.bottoms[0])
    windows: Windows = plan.windows
    shape: dict[str, Any] = {"kernel_shape": windows.kernel, "strides": windows.stride}
    ends = [pad + extra for pad, extra in zip(windows.pad, _beyond(plan), strict=True)]
    pads = [*windows.pad, *ends]
    if layer.pool == "MAX":
        if any(pad >= kernel for pad, kernel in zip(pads, windows.kernel * 2, strict=True)):
            raise Inexpressible("its pad is as large as its kernel")
        call.op("MaxPool", [call.inputs[0]], call.outputs[0], pads=pads, **shape)
        return
    areas = _areas(plan)
    whole = int(np.prod(windows.kernel))
    padded = call.inputs[0]
    if any(pads):
        edges = [0, 0, *windows.pad, 0, 0, *ends]
        padded = call.op("Pad", [padded, call.constant(edges, np.int64)])
    if (areas == whole).all():
        call.op("AveragePool", [padded], call.outputs[0], **shape)
        return
    means = call.op("AveragePool", [padded], **shape)
    call.op("Mul", [means, call.constant(whole / areas)], call.outputs[0])


def _beyond(plan: Any) -> list[int]:
    """How far the windows reach past size + pad on each axis; negative where they leave values out."""
    windows = plan.windows
    terms = zip(plan.output, plan.size, windows.kernel, windows.stride, windows.pad, strict=True)
    return [max((out - 1) * stride + kernel - n - 2 * pad, -pad) for out, n, kernel, stride, pad in terms]


def _areas(plan: Any) -> np.ndarray:
    """Caffe's divisor for every output: the part of its window before size + pad. [height, width]"""
    windows = plan.windows
    lengths = []
    for out, n, kernel, stride, pad in zip(
        plan.output, plan.size, windows.kernel, windows.stride, windows.pad, strict=True
    ):
        starts = np.arange(out) * stride - pad
        lengths.append(np.minimum(starts + kernel, n + pad) - starts)
    return np.outer(*lengths)


@writes("LRN")
def lrn(call: Call) -> None:
    rule = call.layer.rule
    if not rule.within:
        options = {"alpha": rule.alpha, "beta": rule.beta, "bias": rule.k, "size": rule.size}
        call.op("LRN", [call.inputs[0]], call.outputs[0], **options)
        return
    squares = call.op("Mul", [call.inputs[0]] * 2)
    edge = (rule.size - 1) // 2
    padded = call.op("Pad", [squares, call.constant([0, 0, edge, edge] * 2, np.int64)])
    means = call.op("AveragePool", [padded], kernel_shape=[rule.size] * 2, strides=[1, 1])
    scale = call.op("Pow", [call.shifted(call.scaled(means, rule.alpha), rule.k), call.constant(-rule.beta)])
    call.op("Mul", [call.inputs[0], scale], call.outputs[0])


@writes("Interp")
def interp(call: Call) -> None:
    first, last = call.layer.crop
    value = call.inputs[0]
    if first or last:
        height, width = call.bottoms[0][2:]
        ends = [height - last, width - last]
        edges = [call.constant(each, np.int64) for each in ([first, first], ends, [2, 3])]
        value = call.op("Slice", [value, *edges])
    sizes = call.constant([*call.tops[0]], np.int64)
    if call.is_open:
        ends = [call.constant(each, np.int64) for each in ([0], [2])]
        kept = call.op("Slice", [call.op("Shape", [value]), *ends])
        sizes = call.op("Concat", [kept, call.constant([*call.tops[0][2:]], np.int64)], axis=0)
    options = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    call.op("Resize", [value, "", "", sizes], call.outputs[0], **options)
