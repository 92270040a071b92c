"""Layers that normalise, scale or rectify over channels, and dense blocks of them, as ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe_compat.export.onnx.program import Call, axis_of, writes
from caffe_compat.export.writers import Inexpressible
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.forks.faces.normalize import ChannelNormalize
from caffe_compat.layers.forks.nvidia_intel.batch_norm import RectifiedBatchNorm, ScaledBatchNorm


@writes("BatchNorm")
def batch_norm(call: Call) -> None:
    """With the scale and shift that NVIDIA's and Intel's have inside."""
    layer = call.layer
    terms = [call.blob(index) for index in range(3, len(layer.blobs))]
    terms += [np.ones(layer.channels), np.zeros(layer.channels)][len(terms) :]
    rectifies = isinstance(layer, RectifiedBatchNorm) and layer.param.batch_norm_param.relu
    top = None if rectifies else call.outputs[0]
    if not layer.use_global_stats and not isinstance(layer, ScaledBatchNorm):
        top = _by_batch(call, terms, top)[0]
    else:
        top = _by_stored(call, terms, top)
    if rectifies:
        call.op("Relu", [top], call.outputs[0])


def _by_stored(call: Call, terms: Sequence[np.ndarray], output: str | None) -> str:
    layer = call.layer
    factor = 1.0 if isinstance(layer, ScaledBatchNorm) else float(call.blob(2).reshape(-1)[0])
    unit = np.float32(1 / factor if factor else 0)
    blobs = [call.constant(each) for each in (*terms, call.blob(0) * unit, call.blob(1) * unit)]
    return call.op("BatchNormalization", [call.inputs[0], *blobs], output, epsilon=layer.eps)


def _by_batch(call: Call, terms: Sequence[np.ndarray], output: str | None = None) -> tuple[str, str, str]:
    """scale * (x - mean) / sqrt(var + eps) + shift by the batch's own mean and (biased) variance; these behind it."""
    wide = (1, -1, *[1] * (len(call.bottoms[0]) - 2))
    mean = _channel_means(call, call.inputs[0])
    centred = call.op("Sub", [call.inputs[0], mean])
    var = _channel_means(call, call.op("Mul", [centred, centred]))
    unit = call.op("Div", [centred, call.op("Sqrt", [call.shifted(var, call.layer.eps)])])
    scaled = call.op("Mul", [unit, call.constant(terms[0].reshape(wide))])
    return call.op("Add", [scaled, call.constant(terms[1].reshape(wide))], output), mean, var


def _channel_means(call: Call, value: str) -> str:
    """In two steps, for OpenCV 4 and 5 go wrong over the first axis and those behind the second at once."""
    behind = list(range(2, len(call.bottoms[0])))
    planes = call.op("ReduceMean", [value], axes=behind) if behind else value
    return call.op("ReduceMean", [planes], axes=[0])


@writes("BN", "SyncBN")
def bn(call: Call) -> None:
    layer = call.layer
    wide = (1, -1, *[1] * (len(call.bottoms[0]) - 2))
    if layer.infers:
        scaled = call.op("Mul", [call.inputs[0], call.learned(0, wide)])
        call.op("Add", [scaled, call.learned(1, wide)], call.outputs[0])
        return
    if layer.two_blobs:
        _, mean, var = _by_batch(call, [call.blob(index) for index in (0, 1)], call.outputs[0])
        for top, value in zip(call.outputs[1:], (mean, var), strict=False):
            call.reshape(value, (1, -1, 1, 1), top)
        return
    blobs = [call.learned(index, (-1,)) for index in range(4)]
    call.op("BatchNormalization", [call.inputs[0], *blobs], call.outputs[0], epsilon=layer.eps)


@writes("Normalize")
def normalize(call: Call) -> None:
    """SSD's; happynear's where it is that."""
    layer, x = call.layer, call.inputs[0]
    if isinstance(layer, ChannelNormalize):
        _by_length(call, layer.param.normalize_param.normalize_type)
        return
    axes = list(range(1, len(call.bottoms[0]))) if layer.across_spatial else [1]
    length = call.op("Sqrt", [call.shifted(_sum(call, call.op("Mul", [x, x]), axes), layer.eps)])
    wide = () if layer.channel_shared else (-1, *[1] * (len(call.bottoms[0]) - 2))
    call.op("Mul", [call.op("Div", [x, length]), call.learned(0, wide)], call.outputs[0])


def _by_length(call: Call, kind: str) -> None:
    x, least = call.inputs[0], 1e-6
    if kind == "L1":
        length = call.shifted(_sum(call, call.op("Abs", [x]), [1]), least)
    else:
        length = call.op("Sqrt", [call.shifted(_sum(call, call.op("Mul", [x, x]), [1]), least)])
    call.op("Div", [x, length], call.outputs[0])
    if len(call.outputs) > 1:
        call.op("Identity", [length], call.outputs[1])


def _sum(call: Call, value: str, axes: Sequence[int], keepdims: int = 1, output: str | None = None) -> str:
    """Over the axes behind the second first, for OpenCV 4 goes wrong over three."""
    if len(axes) > 2 and keepdims:
        value = call.op("ReduceSum", [value, call.constant(axes[1:], np.int64)], keepdims=1)
        axes = axes[:1]
    return call.op("ReduceSum", [value, call.constant(list(axes), np.int64)], output, keepdims=keepdims)


@writes("ChannelNorm")
def channel_norm(call: Call) -> None:
    """Not by ReduceL2, whose axis MNN drops."""
    call.op("Sqrt", [_sum(call, call.op("Mul", call.inputs * 2), [1])], call.outputs[0])


@writes("Axpy")
def axpy(call: Call) -> None:
    factors = call.reshape(call.inputs[0], [0, 0, *[1] * (len(call.bottoms[1]) - 2)])
    call.op("Add", [call.op("Mul", [factors, call.inputs[1]]), call.inputs[2]], call.outputs[0])


@writes("Mish")
def mish(call: Call) -> None:
    factor = call.op("Tanh", [call.op("Softplus", call.inputs)])
    call.op("Mul", [call.inputs[0], factor], call.outputs[0])


@writes("Swish")
def swish(call: Call) -> None:
    factor = call.op("Sigmoid", [call.scaled(call.inputs[0], call.layer.beta)])
    call.op("Mul", [call.inputs[0], factor], call.outputs[0])


@writes("DenseBlock")
def dense_block(call: Call) -> None:
    """Normalisation, ReLU and convolution, put behind what there is, once a step."""
    layer = call.layer
    factor = float(call.blob(len(layer.blobs) - 1)[0])
    unit = np.float32(1 / factor if factor else 0)
    top = call.inputs[0]
    for step in range(layer.steps):
        x = _rectified(call, top, layer.steps + step, unit)
        if layer.narrows:
            x = call.op("Conv", [x, call.learned(5 * layer.steps + step)], kernel_shape=[1, 1])
            x = _rectified(call, x, 6 * layer.steps + step, unit)
        grown = call.op("Conv", [x, call.learned(step)], kernel_shape=[3, 3], pads=[1] * 4)
        top = call.op("Concat", [top, grown], call.outputs[0] if step == layer.steps - 1 else None, axis=1)


def _rectified(call: Call, value: str, first: int, unit: np.float32) -> str:
    """ReLU of the normalisation with the blobs first, first + steps, ...: scale, bias, mean, variance."""
    scale, bias, mean, var = (call.blob(first + kind * call.layer.steps).reshape(-1) for kind in range(4))
    blobs = [call.constant(each) for each in (scale, bias, mean * unit, var * unit)]
    return call.op("Relu", [call.op("BatchNormalization", [value, *blobs], epsilon=1e-5)])


@writes("Reduction")
def reduction(call: Call) -> None:
    layer = call.layer
    field = layer.param.reduction_param
    kind = enum_name(field, "operation")
    first = axis_of(layer, layer.axis, call.bottoms[0])
    axes = list(range(first, len(call.bottoms[0])))
    value = call.inputs[0]
    if len(axes) > 2 and first < 2:  # OpenCV 4 goes wrong over three axes
        value, axes = call.op("Flatten", [value], axis=first), [first] if first else [0, 1]
    if kind == "ASUM":
        value = call.op("Abs", [value])
    if kind == "SUMSQ":
        value = call.op("Mul", [value, value])
    output = call.outputs[0] if layer.coeff == 1 else None
    if kind == "MEAN":
        value = call.op("ReduceMean", [value], output, axes=axes, keepdims=0)
    else:
        value = _sum(call, value, axes, 0, output)
    if layer.coeff != 1:
        call.op("Mul", [value, call.scalar(layer.coeff)], call.outputs[0])


@writes("ArgMax")
def arg_max(call: Call) -> None:
    """Of equal values the last comes first: ONNX takes the first, so the values are turned round."""
    layer, x, shape = call.layer, call.inputs[0], call.bottoms[0]
    axis = 1 if layer.axis is None else axis_of(layer, layer.axis, shape)
    size = int(np.prod(shape[1:])) if layer.axis is None else shape[axis]
    if any(axis in axes for axes in call.open_bottoms) and layer.axis is not None:
        raise Inexpressible("it looks along the batch, whose size is open")
    if layer.axis is None:
        x = call.op("Flatten", [x], axis=1)
    index, values = _largest(call, x, axis, size) if layer.top_k == 1 else _largest_few(call, x, axis, size)
    index = call.op("Cast", [index], to=call.program.onnx.TensorProto.FLOAT)
    if layer.axis is not None:
        call.op("Identity", [values if layer.out_max_val else index], call.outputs[0])
        return
    both = call.op("Concat", [index, values], axis=1) if layer.out_max_val else index
    call.reshape(both, [-1 if call.is_open else shape[0], *call.tops[0][1:]], call.outputs[0])


def _largest(call: Call, x: str, axis: int, size: int) -> tuple[str, str]:
    """The place of the largest value along `axis`, and that value: OpenCV 4 has no TopK."""
    turned = call.op("Gather", [x, call.constant(np.arange(size)[::-1], np.int64)], axis=axis)
    place = call.op("ArgMax", [turned], axis=axis, keepdims=1)
    place = call.op("Sub", [call.constant(size - 1, np.int64), place])
    return place, call.op("ReduceMax", [x], axes=[axis], keepdims=1) if call.layer.out_max_val else ""


def _largest_few(call: Call, x: str, axis: int, size: int) -> tuple[str, str]:
    """Those of the top_k largest, best first; along the last axis, for MNN takes no other."""
    last = len(call.bottoms[0]) - 1 if call.layer.axis is not None else axis
    order = [each for each in range(last + 1) if each != axis] + [axis]
    if axis != last:
        x = call.op("Transpose", [x], perm=order)
    edges = [call.constant([each], np.int64) for each in (-1, np.iinfo(np.int64).min + 1, last, -1)]
    values, places = f"{call.outputs[0]}:values", f"{call.outputs[0]}:places"
    many = call.constant([call.layer.top_k], np.int64)
    call.op("TopK", [call.op("Slice", [x, *edges]), many], [values, places], axis=last)
    places = call.op("Sub", [call.constant(size - 1, np.int64), places])
    if axis == last:
        return places, values
    back = [order.index(each) for each in range(last + 1)]
    return call.op("Transpose", [places], perm=back), call.op("Transpose", [values], perm=back)
