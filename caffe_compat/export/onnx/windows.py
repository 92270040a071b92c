"""Layers that look through windows or mix channels, as ONNX: convolution, pooling, LRN, InnerProduct, resampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.export.onnx.program import Call, writes
from caffe_compat.export.writers import Inexpressible
from caffe_compat.layers.windows import Windows


@writes("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(call: Call) -> None:
    _filter_bank(call, "Conv")


@writes("Deconvolution")
def deconvolution(call: Call) -> None:
    _filter_bank(call, "ConvTranspose")


def _filter_bank(call: Call, kind: str) -> None:
    """All bottoms go through the same weights; axes before the channels count as one."""
    layer = call.layer
    windows: Windows = layer.windows
    blobs = [call.learned(index) for index in range(len(layer.blobs))]
    options: dict[str, Any] = {
        "kernel_shape": windows.kernel,
        "strides": windows.stride,
        "pads": [*windows.pad, *windows.pad],
        "dilations": windows.dilation,
        "group": layer.group,
    }
    slope = _slope(layer.param.convolution_param)
    for index, (bottom, top) in enumerate(zip(call.inputs, call.outputs, strict=True)):
        last = top if layer.axis == 1 else None
        if layer.axis != 1:
            bottom = call.reshape(bottom, [-1, *call.bottoms[index][layer.axis :]])
        value = call.op(kind, [bottom, *blobs], last if slope is None else None, **options)
        if slope is not None:
            value = call.op("LeakyRelu", [value], last, alpha=slope)
        if layer.axis != 1:
            call.reshape(value, call.open_shape(index), top)


def _slope(field: Any) -> float | None:
    """What Intel's layers with relu multiply by below 0; None without relu."""
    return float(field.negative_slope) if field.relu else None


@writes("InnerProduct")
def inner_product(call: Call) -> None:
    layer = call.layer
    rows = call.op("Flatten", [call.inputs[0]], axis=layer.axis)
    plain, slope = layer.axis == 1, _slope(layer.param.inner_product_param)
    blobs = [call.learned(index) for index in range(len(layer.blobs))]
    last = call.outputs[0] if plain else None
    transposed = int(not layer.transpose)
    top = call.op("Gemm", [rows, *blobs], last if slope is None else None, transB=transposed)
    if slope is not None:
        top = call.op("LeakyRelu", [top], last, alpha=slope)
    if not plain:  # Flatten made one axis of all before `axis`
        call.reshape(top, [-1, *call.tops[0][1:]], call.outputs[0])


@writes("Pooling")
def pooling(call: Call) -> None:
    layer, plan = call.layer, call.layer.plan(call.bottoms[0])
    if layer.mask:
        _max_and_mask(call, plan)
        return
    pool(call, plan, layer.pool, call.outputs[0], layer.param.pooling_param.avg_include_pad)


@writes("SPP")
def pyramid(call: Call) -> None:
    """A pooling for each level, flattened and put one behind another."""
    layer, plans = call.layer, call.layer.plans(call.bottoms[0])
    if layer.levels == 1:
        pool(call, plans[0], layer.pool, call.outputs[0])
        return
    levels = [call.op("Flatten", [pool(call, plan, layer.pool)], axis=1) for plan in plans]
    call.op("Concat", levels, call.outputs[0], axis=1)


def pool(call: Call, plan: Any, method: str, output: str | None = None, include_pad: bool = True) -> str:
    """Bottom 0 pooled by MAX or AVE in the windows of `plan`."""
    if method == "STOCHASTIC":
        raise Inexpressible("pool is STOCHASTIC")
    windows: Windows = plan.windows
    shape: dict[str, Any] = {"kernel_shape": windows.kernel, "strides": windows.stride}
    pads = _pads(plan)
    if method == "MAX":
        return call.op("MaxPool", [_apart(call, call.inputs[0])], output, pads=_checked_pads(plan), **shape)
    areas = _areas(plan, include_pad)
    whole = int(np.prod(windows.kernel))
    padded = call.inputs[0]
    if any(pads):
        edges = [0, 0, *pads[:2], 0, 0, *pads[2:]]
        padded = call.op("Pad", [padded, call.constant(edges, np.int64)])
    if (areas == whole).all():
        return call.op("AveragePool", [padded], output, **shape)
    return call.op("Mul", [call.op("AveragePool", [padded], **shape), call.constant(whole / areas)], output)


def _apart(call: Call, value: str) -> str:
    """`value` for a MaxPool; where a Pad makes it, behind a Max that changes nothing.

    ONNX Runtime 1.31.1 and onnxoptimizer 0.4.2 make a Pad with 0 the pads of a MaxPool behind it, which count as the
    lowest number.
    """
    makers = {name: node for node in call.program.nodes for name in node.output}
    maker = makers.get(value)
    while maker is not None and maker.op_type == "Identity":
        maker = makers.get(maker.input[0])
    return value if maker is None or maker.op_type != "Pad" else call.op("Max", [value, call.constant(-np.inf)])


def _pads(plan: Any) -> list[int]:
    """The pads before, then behind."""
    pad = plan.windows.pad
    return [*pad, *(each + extra for each, extra in zip(pad, _beyond(plan), strict=True))]


def _checked_pads(plan: Any) -> list[int]:
    """The pads of a MaxPool; Inexpressible where one is as large as its kernel."""
    pads = _pads(plan)
    if any(pad >= kernel for pad, kernel in zip(pads, plan.windows.kernel * 2, strict=True)):
        raise Inexpressible("its pad is as large as its kernel")
    return pads


def _max_and_mask(call: Call, plan: Any) -> None:
    """ONNX counts the places of the maxima over the whole blob, Caffe within the plane; both take the first."""
    shape: dict[str, Any] = {"kernel_shape": plan.windows.kernel, "strides": plan.windows.stride}
    places = f"{call.outputs[1]}:places"
    call.op("MaxPool", [call.inputs[0]], [call.outputs[0], places], pads=_checked_pads(plan), **shape)
    within = call.op("Mod", [places, call.constant(int(np.prod(plan.size)), np.int64)])
    call.op("Cast", [within], call.outputs[1], to=call.program.onnx.TensorProto.FLOAT)


def _beyond(plan: Any) -> list[int]:
    """How far the windows reach past size + pad on each axis; negative where they leave values out."""
    windows = plan.windows
    terms = zip(plan.output, plan.size, windows.kernel, windows.stride, windows.pad, strict=True)
    return [max((out - 1) * stride + kernel - n - 2 * pad, -pad) for out, n, kernel, stride, pad in terms]


def _areas(plan: Any, include_pad: bool) -> np.ndarray:
    """Caffe's divisor for every output: the part of its window before size + pad. [height, width]

    Without include_pad, Intel's: the part in the image.
    """
    windows = plan.windows
    lengths = []
    for out, n, kernel, stride, pad in zip(
        plan.output, plan.size, windows.kernel, windows.stride, windows.pad, strict=True
    ):
        starts = np.arange(out) * stride - pad
        if include_pad:
            lengths.append(np.minimum(starts + kernel, n + pad) - starts)
        else:
            lengths.append(np.minimum(starts + kernel, n) - np.maximum(starts, 0))
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
