"""Layers of forks that stand for other frameworks' operators, as those: MatMul, padding, blocks as channels."""

from __future__ import annotations

import numpy as np
import torch

from caffe_compat.export.onnx.program import Call, writes
from caffe_compat.export.writers import Inexpressible


@writes("ReLU6", "Relu6")
def relu6(call: Call) -> None:
    slope, six = call.layer.negative_slope, call.constant(6)
    if slope:
        call.op("Clip", [call.op("LeakyRelu", call.inputs, alpha=slope), "", six], call.outputs[0])
    else:
        call.op("Clip", [call.inputs[0], call.constant(0), six], call.outputs[0])


@writes("HardSigmoid")
def hard_sigmoid(call: Call) -> None:
    call.op("HardSigmoid", call.inputs, call.outputs[0], alpha=call.layer.alpha, beta=call.layer.beta)


@writes("Softplus")
def softplus(call: Call) -> None:
    call.op("Softplus", call.inputs, call.outputs[0])


@writes("InstanceNorm")
def instance_normalization(call: Call) -> None:
    channels = call.bottoms[0][1]
    blobs = [call.constant(np.ones(channels)), call.constant(np.zeros(channels))]
    call.op("InstanceNormalization", [call.inputs[0], *blobs], call.outputs[0], epsilon=call.layer.epsilon)


@writes("L2Norm")
def l2_normalization(call: Call) -> None:
    layer, (value,) = call.layer, call.inputs
    squares = call.op("Mul", [value, value])
    behind = [] if layer.length is not None else list(range(2, len(call.bottoms[0])))
    for axes in [behind, [1]] if behind else [[1]]:  # OpenCV 4 goes wrong over three axes at once
        squares = call.op("ReduceSum", [squares, call.constant(axes, np.int64)], keepdims=1)
    if layer.length is not None:
        lengths = call.op("Sqrt", [call.scaled(squares, 1 / layer.length)])
        is_none = call.op("Equal", [lengths, call.constant(0)])
        lengths = call.op("Where", [is_none, call.constant(1), lengths])
    elif layer.eps is None:
        lengths = call.op("Sqrt", [call.op("Max", [squares, call.constant(call.layer.least)])])
    else:
        lengths = call.shifted(call.op("Sqrt", [squares]), layer.eps)
    call.op("Div", [value, lengths], call.outputs[0])


@writes("MatMul")
def mat_mul(call: Call) -> None:
    layer = call.layer
    if layer.dims and call.is_open:
        raise Inexpressible("dim_1, dim_2 and dim_3 fix its sizes, and that of the batch is open")
    shapes = layer.operands(list(call.bottoms))
    values = [*call.inputs, *([] if len(call.inputs) == 2 else [call.learned(0, shapes[1])])]
    turns = (False, True) if layer.dims else layer.turns
    pair = []
    for value, shape, turn, bottom in zip(values, shapes, turns, (*call.bottoms, shapes[1]), strict=False):
        if shape != bottom:
            value = call.reshape(value, list(shape) if layer.dims or len(shape) < 3 else [0, *shape[1:]])
        if turn:
            axes = list(range(len(shape)))
            value = call.op("Transpose", [value], perm=[*axes[:-2], axes[-1], axes[-2]])
        pair.append(value)
    call.op("MatMul", pair, call.outputs[0])


@writes("Padding")
def padding(call: Call) -> None:
    layer, (value,) = call.layer, call.inputs
    above, below, left, right = layer.margins(call.bottoms[0])
    rows, columns = call.bottoms[0][2:]
    if layer.mirrors:
        value = _mirrored(call, value, (2, rows, above, below), None)
        _mirrored(call, value, (3, columns, left, right), call.outputs[0])
    elif min(above, below, left, right) < 0:
        ends = [[-above, -left], [rows + below, columns + right], [2, 3]]
        call.op("Slice", [value, *(call.constant(each, np.int64) for each in ends)], call.outputs[0])
    else:
        pads = call.constant([0, 0, above, left, 0, 0, below, right], np.int64)
        call.op("Pad", [value, pads, call.constant(layer.value)], call.outputs[0])


def _mirrored(call: Call, value: str, margins: tuple[int, int, int, int], output: str | None) -> str:
    """What lies inside, about the edges; margins: the axis, its size, and how many before and after."""
    axis, size, before, after = margins
    places = [*range(before - 1, -1, -1), *range(size), *range(size - 1, size - 1 - after, -1)]
    return call.op("Gather", [value, call.constant(places, np.int64)], output, axis=axis)


@writes("PassThrough")
def pass_through(call: Call) -> None:
    layer, (_, channels, rows, columns) = call.layer, call.bottoms[0]
    height, width = layer.block
    if height == width:
        call.op("SpaceToDepth", call.inputs, call.outputs[0], blocksize=height)
        return
    blocks = call.reshape(call.inputs[0], [0, channels, rows // height, height, columns // width, width])
    turned = call.op("Transpose", [blocks], perm=[0, 3, 5, 1, 2, 4])
    call.reshape(turned, [0, *call.tops[0][1:]], call.outputs[0])


@writes("Reorg", "ReorgYolo")
def reorg(call: Call) -> None:
    layer, (_, channels, rows, columns) = call.layer, call.bottoms[0]
    stride, planes = layer.stride, channels // layer.stride**2
    if layer.reverse:
        squares, order = [0, stride, stride, planes, rows, columns], [0, 3, 4, 1, 5, 2]
    else:
        squares, order = [0, planes, rows, stride, columns, stride], [0, 3, 5, 1, 2, 4]
    turned = call.op("Transpose", [call.reshape(call.inputs[0], squares)], perm=order)
    call.reshape(turned, [0, *call.tops[0][1:]], call.outputs[0])


@writes("RegionYolo")
def region_yolo(call: Call) -> None:
    layer, size = call.layer, call.bottoms[0][2:]
    entries = (2, layer.coords - 2, 1, layer.classes)
    boxes = call.reshape(call.inputs[0], [0, layer.boxes, sum(entries), *size])
    names = ("places", "sizes", "certain", "classes")
    parts = [f"{layer.name}:{name}" for name, count in zip(names, entries, strict=True) if count]
    call.op("Split", [boxes, call.constant([count for count in entries if count], np.int64)], parts, axis=2)
    places, *sizes, certain, classes = parts
    by_class = call.op("Softmax", [classes], axis=2) if layer.do_softmax else call.op("Sigmoid", [classes])
    both = [call.op("Sigmoid", [each]) for each in (places, certain)]
    joined = call.op("Concat", [both[0], *sizes, both[1], by_class], axis=2)
    top = call.tops[0]
    call.reshape(joined, [0 if top[0] == call.bottoms[0][0] else -1, *top[1:]], call.outputs[0])


@writes("MaxUnPool")
def max_unpool(call: Call) -> None:
    channels, plane = call.bottoms[0][1], call.layer.size[0] * call.layer.size[1]
    number = call.op("Slice", [call.op("Shape", call.inputs[:1]), *(call.constant([at], np.int64) for at in (0, 1))])
    zeros = call.zeros(call.op("Concat", [number, call.constant([channels, plane], np.int64)], axis=0))
    values, mask = (call.reshape(each, [0, channels, -1]) for each in call.inputs)
    places = call.op("Cast", [mask], to=call.program.onnx.TensorProto.INT64)
    call.reshape(call.op("ScatterElements", [zeros, places, values], axis=2), [0, *call.tops[0][1:]], call.outputs[0])


@writes("ContinuationIndicator", "PriorBoxClustered")
def constant(call: Call) -> None:
    if call.layer.param.type == "ContinuationIndicator" and call.inputs:
        raise Inexpressible("its bottom says which sequences go on")
    with torch.no_grad():
        value = call.layer(*(torch.zeros(shape) for shape in call.bottoms))
    call.op("Identity", [call.constant(value.cpu().numpy())], call.outputs[0])
