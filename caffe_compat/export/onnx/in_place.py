"""Layers in place that overwrite what is still read, in ONNX: the forward pass that Caffe's memory gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_compat.export.onnx.program import Call, Program
from caffe_compat.export.writers import Inexpressible
from caffe_compat.graph.graph import Blob
from caffe_compat.layers.base import Shape
from caffe_compat.layers.caffe.overwriting import destroying_forward_of
from caffe_compat.net.net import Net


def found_inputs(
    net: Net, number: int, program: Program, names: Mapping[Blob, str], shapes: Mapping[Blob, Shape]
) -> tuple[str, ...]:
    """The names of what node `number` finds where its bottoms lie."""
    node, hazard = net.graph.nodes[number], net.hazards.by_number.get(number)
    read = hazard.read if hazard is not None else {}
    return tuple(
        _in_shape(program, names[read[k]], shapes[blob], shapes[read[k]]) if k in read else names[blob]
        for k, blob in enumerate(node.bottoms)
    )


def name_outputs(
    net: Net, program: Program, names: Mapping[Blob, str], shapes: Mapping[Blob, Shape], outputs: Sequence[str]
) -> None:
    """Give every one of `outputs` whose memory a later layer has overwritten what lies there in the end."""
    for blob, there in net.hazards.final.items():
        if blob.name in outputs:
            shape = program.constant(f"{blob.name}:shape", list(shapes[blob]), np.int64)
            node = program.onnx.helper.make_node("Reshape", [names[there], shape], [blob.name], f"{blob.name}:in_place")
            program.nodes.append(node)


def _in_shape(program: Program, name: str, wanted: Shape, found: Shape) -> str:
    if wanted == found:
        return name
    index = len(program.nodes)
    shape = program.constant(f"{name}:shape:{index}", list(wanted), np.int64)
    made = f"{name}:as:{index}"
    program.nodes.append(program.onnx.helper.make_node("Reshape", [name, shape], [made], made))
    return made


def writer_in_place(net: Net, number: int) -> Callable[[Call], None] | None:
    """What writes a layer that loses its bottom in its forward pass; None for a layer that does not."""
    hazard = net.hazards.by_number.get(number)
    layer: Any = net.steps[number][1]
    if hazard is None or not hazard.in_place or destroying_forward_of(layer) is None:
        return None
    return _WRITERS[layer.param.type]


def _eltwise(call: Call) -> None:
    """Bottom 0 counts as 0 in a SUM, as the smallest number in a MAX."""
    layer, others = call.layer, list(call.inputs[1:])
    if layer.operation == "SUM" and layer.coefficients:
        others = [call.scaled(value, factor) for value, factor in zip(others, layer.coefficients[1:], strict=True)]
    if len(others) == 1:
        call.op("Identity", others, call.outputs[0])
    else:
        call.op("Sum" if layer.operation == "SUM" else "Max", others, call.outputs[0])


def _lrn(call: Call) -> None:
    """scale^(-2 beta); the sum over channels is a mean over a plane of (channels, pixels)."""
    rule, half = call.layer.rule, call.layer.rule.size // 2
    squares = call.reshape(call.op("Mul", [call.inputs[0]] * 2), [0, 1, call.bottoms[0][1], -1])
    options: dict[str, Any] = {"kernel_shape": [rule.size, 1], "pads": [half, 0, half, 0], "count_include_pad": 1}
    means = call.op("AveragePool", [squares], **options)
    scale = call.op("Add", [call.scaled(means, rule.alpha), call.constant(rule.k)])
    power = call.op("Pow", [scale, call.constant(-2 * rule.beta)])
    call.reshape(power, [0, *call.tops[0][1:]], call.outputs[0])


def _pooling(call: Call) -> None:
    call.op("Mul", [call.inputs[0], call.constant(0.0)], call.outputs[0])


def _product(call: Call) -> None:
    raise Inexpressible("works in place on its own factor, what comes of it is a matter of the BLAS library")


_WRITERS: Mapping[str, Callable[[Call], None]] = {
    "Convolution": _product, "Deconvolution": _product, "Eltwise": _eltwise, "InnerProduct": _product, "LRN": _lrn,
    "Pooling": _pooling,
}  # fmt: skip
