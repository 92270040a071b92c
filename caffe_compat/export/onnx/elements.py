"""Layers that work value by value, over an axis, or only move values, as ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from caffe_compat.export.onnx.program import Call, axis_of, writes
from caffe_compat.export.writers import Inexpressible
from caffe_compat.layers.fields import enum_name


@writes("ReLU")
def relu(call: Call) -> None:
    slope = call.layer.negative_slope
    call.op("LeakyRelu" if slope else "Relu", call.inputs, call.outputs[0], alpha=slope or None)


@writes("PReLU")
def prelu(call: Call) -> None:
    axes = len(call.bottoms[0])
    shape = [1] if call.layer.channel_shared else [-1, *[1] * (axes - 2)]
    call.op("PRelu", [call.inputs[0], call.learned(0, shape)], call.outputs[0])


@writes("ELU")
def elu(call: Call) -> None:
    call.op("Elu", call.inputs, call.outputs[0], alpha=call.layer.alpha)


def _plain(kind: str) -> Callable[[Call], None]:
    def write(call: Call) -> None:
        call.op(kind, call.inputs[:1], call.outputs[0])

    return write


for _caffe, _onnx in {
    "Sigmoid": "Sigmoid",
    "TanH": "Tanh",
    "AbsVal": "Abs",
    "BNLL": "Softplus",
}.items():
    writes(_caffe)(_plain(_onnx))


@writes("Dropout")
def dropout(call: Call) -> None:
    if call.layer.draws and call.layer.dropout_ratio:
        raise Inexpressible("sample_weights_test makes it draw at random in TEST too")
    call.op("Identity", call.inputs, call.outputs[0])


@writes("Power")
def power(call: Call) -> None:
    layer = call.layer
    value = call.shifted(call.scaled(call.inputs[0], layer.scale), layer.shift)
    if layer.power == 1:
        call.op("Identity", [value], call.outputs[0])
    else:
        call.op("Pow", [value, call.constant(layer.power)], call.outputs[0])


@writes("Exp")
def exponential(call: Call) -> None:
    value = call.op("Exp", [call.scaled(call.inputs[0], call.layer.inner_scale)])
    call.op("Mul", [value, call.constant(call.layer.outer_scale)], call.outputs[0])


@writes("Log")
def logarithm(call: Call) -> None:
    layer = call.layer
    value = call.op("Log", [call.shifted(call.scaled(call.inputs[0], layer.scale), layer.shift)])
    call.op("Mul", [value, call.constant(layer.base_scale)], call.outputs[0])


@writes("Clip")
def clip(call: Call) -> None:
    limits = [call.constant(call.layer.min), call.constant(call.layer.max)]
    call.op("Clip", [call.inputs[0], *limits], call.outputs[0])


@writes("Threshold")
def threshold(call: Call) -> None:
    above = call.op("Greater", [call.inputs[0], call.constant(call.layer.threshold)])
    call.op("Cast", [above], call.outputs[0], to=call.program.onnx.TensorProto.FLOAT)


@writes("Sparsify")
def sparsify(call: Call) -> None:
    """Every value nearer to 0 by the threshold, as far as that; ONNX's Shrink is another in MNN."""
    size = call.op("Relu", [call.shifted(call.op("Abs", call.inputs), -call.layer.thre)])
    call.op("Mul", [call.op("Sign", call.inputs), size], call.outputs[0])


@writes("SymmetricRectify")
def symmetric_rectify(call: Call) -> None:
    """Every value nearer to 0 by the threshold, as far as that."""
    x, layer = call.inputs[0], call.layer
    wide = () if layer.channel_shared else (-1, *[1] * (len(call.bottoms[0]) - 2))
    threshold = call.constant(np.maximum(call.blob(0), 0).reshape(wide))
    size = call.op("Relu", [call.op("Sub", [call.op("Abs", [x]), threshold])])
    call.op("Mul", [call.op("Sign", [x]), size], call.outputs[0])


@writes("NegReLU")
def negative_relu(call: Call) -> None:
    x = call.inputs[0]
    below = call.op("Less", [x, call.constant(0.0)])
    above = call.op("Mul", [x, call.constant(call.layer.param.relu_param.negative_slope)])
    call.op("Where", [below, x, above], call.outputs[0])


@writes("HardSwish", "HSwish")
def hard_swish(call: Call) -> None:
    x = call.inputs[0]
    gate = call.op("Clip", [call.shifted(x, 3), call.constant(0.0), call.constant(6.0)])
    call.op("Div", [call.op("Mul", [x, gate]), call.constant(6.0)], call.outputs[0])


@writes("Mean")
def mean(call: Call) -> None:
    """FlowNet's: subtracts or adds a value a channel."""
    field = call.layer.field
    sign = -1 if enum_name(field, "operation") == "SUBTRACT" else 1
    for bottom, top, shape in zip(call.inputs, call.outputs, call.bottoms, strict=True):
        values = np.tile(np.array(field.value, np.float32), shape[1] // len(field.value))
        values = values.reshape(1, -1, *[1] * (len(shape) - 2)) * (sign * field.mean_scale)
        moved = call.op("Add", [call.scaled(bottom, field.input_scale), call.constant(values)])
        call.op("Mul", [moved, call.constant(field.output_scale)], top)


@writes("Softmax")
def softmax(call: Call) -> None:
    call.op("Softmax", call.inputs, call.outputs[0], axis=axis_of(call.layer, call.layer.axis, call.bottoms[0]))


@writes("Scale")
def scale(call: Call) -> None:
    bias = call.layer.bias_term
    value = call.op("Mul", [call.inputs[0], _operand(call)], None if bias else call.outputs[0])
    if bias:
        added = call.learned(len(call.layer.blobs) - 1, _lined_up(call, call.layer.blob_shapes[-1]))
        call.op("Add", [value, added], call.outputs[0])


@writes("Bias")
def bias(call: Call) -> None:
    call.op("Add", [call.inputs[0], _operand(call)], call.outputs[0])


def _operand(call: Call) -> str:
    """The second operand of Scale and Bias, with axes of size 1 behind it."""
    if len(call.inputs) == 1:
        return call.learned(0, _lined_up(call, call.layer.blob_shapes[0]))
    return call.reshape(call.inputs[1], _lined_up(call, (0,) * len(call.bottoms[1])))


def _lined_up(call: Call, shape: tuple[int, ...]) -> list[int]:
    return [*shape, *[1] * (len(call.bottoms[0]) - call.layer.axis - len(shape))]


@writes("MVN")
def mvn(call: Call) -> None:
    """The top has four axes whatever the bottom has."""
    param, axes, x = call.layer.param.mvn_param, len(call.bottoms[0]), call.inputs[0]
    if axes != 4:
        x = call.reshape(x, [*[0] * axes, *[1] * (4 - axes)])
    varies = param.normalize_variance
    means = _plane_means(call, x, param.across_channels)
    centred = call.op("Sub", [x, means], None if varies else call.outputs[0])
    if varies:
        variance = _plane_means(call, call.op("Mul", [centred, centred]), param.across_channels)
        call.op("Div", [centred, call.shifted(call.op("Sqrt", [variance]), param.eps)], call.outputs[0])


def _plane_means(call: Call, value: str, across: bool) -> str:
    """The mean of every plane, or over all channels too: in two steps, for OpenCV 4 goes wrong over three axes."""
    means = call.op("ReduceMean", [value], axes=[2, 3])
    return call.op("ReduceMean", [means], axes=[1]) if across else means


@writes("Eltwise")
def eltwise(call: Call) -> None:
    layer = call.layer
    if layer.operation == "MAX":
        call.op("Max", call.inputs, call.outputs[0])
        return
    kind, values = ("Mul", list(call.inputs)) if layer.operation == "PROD" else ("Add", list(call.inputs))
    if layer.operation == "SUM" and layer.coefficients:
        values = [call.scaled(value, factor) for value, factor in zip(values, layer.coefficients, strict=True)]
    total = values[0]
    for index, value in enumerate(values[1:], 2):
        total = call.op(kind, [total, value], call.outputs[0] if index == len(values) else None)


@writes("Concat")
def concat(call: Call) -> None:
    if len(call.inputs) == 1:  # OpenCV 4 makes nothing of a Concat of one
        call.op("Identity", call.inputs, call.outputs[0])
        return
    call.op("Concat", call.inputs, call.outputs[0], axis=call.layer.axis)


@writes("Slice")
def slices(call: Call) -> None:
    axis = axis_of(call.layer, call.layer.axis, call.bottoms[0])
    if any(axis in axes for axes in call.open_bottoms):
        raise Inexpressible("it cuts along the batch, whose size is open")
    sizes = call.constant([top[axis] for top in call.tops], np.int64)
    call.op("Split", [call.inputs[0], sizes], call.outputs, axis=axis)


@writes("Split")
def split(call: Call) -> None:
    for top in call.outputs:
        call.op("Identity", call.inputs, top)


@writes("Silence")
def silence(call: Call) -> None:
    """Nothing: it only keeps Caffe from printing a blob."""


@writes("Flatten", "Reshape")
def reshape(call: Call) -> None:
    bottom, top = call.bottoms[0], call.tops[0]
    if math.prod(bottom) == 0:
        raise Inexpressible("its bottom is empty")
    keeps_batch = bool(bottom) and bool(top) and bottom[0] == top[0]
    if call.is_open and call.open_tops[0] != {0}:
        shape = call.open_shape(0)
    elif call.is_open:  # what is open behind the first axis of the bottom is in the first of the top
        shape = [-1 if call.open_bottoms[0] != {0} or not keeps_batch else 0, *top[1:]]
    else:
        shape = [0, *top[1:]] if keeps_batch else list(top)
    call.reshape(call.inputs[0], shape, call.outputs[0])


@writes("Permute")
def permute(call: Call) -> None:
    order = list(call.layer.order)
    order += [axis for axis in range(len(call.bottoms[0])) if axis not in order]
    call.op("Transpose", call.inputs, call.outputs[0], perm=order)


@writes("ShuffleChannel")
def shuffle_channel(call: Call) -> None:
    channels, group, rest = call.bottoms[0][1], call.layer.group, call.bottoms[0][2:]
    apart = call.reshape(call.inputs[0], [0, group, channels // group, *rest])
    turned = call.op("Transpose", [apart], perm=[0, 2, 1, *range(3, 3 + len(rest))])
    call.reshape(turned, [0, channels, *rest], call.outputs[0])


@writes("Crop")
def crop(call: Call) -> None:
    layer, bottom, top = call.layer, call.bottoms[0], call.tops[0]
    axis = layer.axis % len(bottom)
    count = len(bottom) - axis
    offsets = layer.offsets if len(layer.offsets) == count else (layer.offsets or (0,)) * count
    places = zip(range(axis, len(bottom)), offsets, top[axis:], strict=True)
    cuts = [(at, start, start + size) for at, start, size in places]
    whole = {at for at, start, end in cuts if call.is_open and not start and end == bottom[at]}
    if any(at in call.open_bottoms[0] for at, *_ in cuts if at not in whole):
        raise Inexpressible("it cuts along the batch, whose size is open")
    cuts = [cut for cut in cuts if cut[0] not in whole]
    if not cuts:
        call.op("Identity", call.inputs[:1], call.outputs[0])
        return
    edges = [call.constant([cut[part] for cut in cuts], np.int64) for part in (1, 2, 0)]
    call.op("Slice", [call.inputs[0], *edges], call.outputs[0])


@writes("Tile")
def tile(call: Call) -> None:
    repeats = [1] * len(call.bottoms[0])
    repeats[axis_of(call.layer, call.layer.axis, call.bottoms[0])] = call.layer.tiles
    call.op("Tile", [call.inputs[0], call.constant(repeats, np.int64)], call.outputs[0])
