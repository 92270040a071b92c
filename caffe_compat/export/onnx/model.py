"""A whole net as an ONNX model: one group of operators for each layer, with Caffe's windows, divisors and axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from caffe_compat.errors import CaffeCompatError, GraphError, UnsupportedLayerError
from caffe_compat.export.ending import ending_at, shapes_left
from caffe_compat.export.onnx import (
    attention,
    channels,
    converted,
    detection,
    elements,
    places,
    sequences,
    windows,
    yolo,
)
from caffe_compat.export.onnx.in_place import found_inputs, name_outputs, writer_in_place
from caffe_compat.export.onnx.program import WRITERS, Call, Program, package
from caffe_compat.export.pixels import pixels_of
from caffe_compat.export.writers import Inexpressible
from caffe_compat.graph.graph import Blob
from caffe_compat.layers.base import Shape
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.net import Net
from caffe_compat.net.shapes import infer_shapes, set_up_layers
from caffe_compat.proto.model import ModelLike, as_model

OPSET, IR_VERSION = 17, 8  # read by onnxruntime 1.13 and later
BATCH = "batch"

# imported so that their writers register
_WRITERS = (attention, channels, converted, detection, elements, places, sequences, windows, yolo)
_OF_ANY_SIZE = frozenset({"Dropout", "Power", "Silence", "Split"})
_NEVER = {  # why types have no writer
    **dict.fromkeys(("LargeMarginInnerProduct", "MarginInnerProduct"), "its margin falls with each pass of a net"),
    **dict.fromkeys(("BoxOutput", "FrcnnProposal", "Proposal"), "the values decide how many regions it gives"),
    "Python": "it is code",
}
TRAINING = "which belongs to training"
DEPLOY = (
    "; this is a net for training: caffe-compat deploy NET --weights WEIGHTS --out deploy.prototxt --out-weights "
    "deploy.caffemodel makes the one to export"
)
ENDING = "; --output BLOB,... ends the net before"


def onnx_types() -> frozenset[str]:
    """The layer types that are written as ONNX, some with settings that are not; data layers become inputs."""
    return frozenset(WRITERS)


def to_onnx(
    model: ModelLike,
    input_shapes: Mapping[str, Shape] | None = None,
    dynamic_batch: bool = False,
    compat: str = "bvlc",
    outputs: Sequence[str] = (),
) -> Any:
    """The TEST net of `model` as an onnx.ModelProto; inputs and outputs have the names of their blobs.

    (Where a layer changes an input in place, what comes of it is named input:version.) Its metadata_props have, as
    "pixels of BLOB", what images go through before they are that input, where it is known.

    input_shapes: {blob: shape} in place of those that the net declares. dynamic_batch: the first axis of the inputs
    that have one of the size of the first input's may have any size, and what follows from it. outputs: blobs to end at
    in place of the net's outputs; layers that they do not need are left out. Raises UnsupportedLayerError naming every
    layer that ONNX cannot express, GraphError for a net whose batch cannot change and for a blob that no layer makes,
    DataError without the package onnx.
    """
    whole = as_model(model)
    model = ending_at(whole, outputs)
    onnx = package("onnx")
    net = Net(model, "TEST", compat=compat, input_shapes=shapes_left(whole, model, input_shapes))
    shown = tuple(outputs) or net.output_names
    names = _value_names(net)
    shapes, open_axes = _shapes(net), _open_axes(net) if dynamic_batch else {}
    program, problems = Program(onnx), []
    for number, (node, layer) in enumerate(net.steps):
        if isinstance(layer, SourceLayer):
            continue
        call = Call(
            program,
            layer,
            found_inputs(net, number, program, names, shapes),
            tuple(names[blob] for blob in node.tops),
            tuple(shapes[blob] for blob in node.bottoms),
            tuple(shapes[blob] for blob in node.tops),
            tuple(open_axes.get(blob, frozenset()) for blob in node.bottoms),
            tuple(open_axes.get(blob, frozenset()) for blob in node.tops),
        )
        problems += _write(call, writer_in_place(net, number))
    if problems:
        way_out = DEPLOY if any(TRAINING in problem for problem in problems) else ENDING
        raise UnsupportedLayerError(f"net '{net.graph.name}': ONNX cannot express {'; '.join(problems)}{way_out}")
    name_outputs(net, program, names, shapes, shown)
    made = _assemble(net, program, names, shapes, open_axes, shown)
    onnx.helper.set_model_props(made, {f"pixels of {blob}": each.to_json() for blob, each in pixels_of(model).items()})
    return made


def _write(call: Call, in_place: Callable[[Call], None] | None) -> list[str]:
    """Add the layer to the program, by `in_place` if given; what to say where that cannot be done."""
    layer = call.layer
    shown = f"layer '{layer.name}' ({layer.param.type})"
    if layer.param.type not in WRITERS:
        measures = layer.default_loss_weight or layer.param.type == "Accuracy"
        if layer.param.type in _NEVER:
            return [f"{shown}: {_NEVER[layer.param.type]}"]
        return [f"{shown}, {TRAINING}" if measures else shown]
    counted = [axes for axes in map(call.program.counted.get, call.inputs) if axes]
    if counted and layer.param.type not in _OF_ANY_SIZE:
        return [f"{shown}: the values decide how many rows its bottom has"]
    try:
        (in_place or WRITERS[layer.param.type])(call)
    except Inexpressible as error:
        return [f"{shown}: {error}"]
    if counted:
        call.program.counted.update(dict.fromkeys(call.outputs, counted[0]))
    return []


def _value_names(net: Net) -> dict[Blob, str]:
    """The name of every blob version: inputs and last versions have the blob's own, save that of a changed input."""
    tops = [(layer, top) for node, layer in net.steps for top in node.tops]
    given = {top for layer, top in tops if isinstance(layer, SourceLayer)}
    taken = {top.name for top in given}
    last = {top.name: top for _, top in tops}
    owns = given | {top for name, top in last.items() if name not in taken and top not in net.hazards.final}
    return {top: top.name if top in owns else f"{top.name}:{top.version}" for _, top in tops}


def _shapes(net: Net) -> dict[Blob, Shape]:
    """The shape of every blob version."""
    layers = [layer for _, layer in net.steps]
    return infer_shapes(net.graph, layers, {name: net.shapes[name] for name in net.input_names})


def _open_axes(net: Net) -> dict[Blob, frozenset[int]]:
    """The axes of every blob version whose size changes with that of the batch; GraphError where it cannot change."""
    sizes = {name: tuple(net.shapes[name]) for name in net.input_names}
    batch = next((shape[0] for shape in sizes.values() if shape), 0)
    larger = {name: (batch + 1, *shape[1:]) if shape[:1] == (batch,) else shape for name, shape in sizes.items()}
    layers = [layer for _, layer in net.steps]
    before = infer_shapes(net.graph, layers, sizes)
    refusal = f"net '{net.graph.name}' takes no other batch than {batch}"
    try:
        with torch.device("meta"):  # shapes without memory or random numbers
            others, after = set_up_layers(net.graph, layers[0].context, larger)
    except CaffeCompatError as error:
        raise GraphError(f"{refusal}: {error}") from error
    for layer, other in zip(layers, others, strict=True):
        if layer.blob_shapes != other.blob_shapes:
            raise GraphError(f"{refusal}: layer '{layer.name}': its blobs have the size of the batch")
    return {
        blob: frozenset(axis for axis, pair in enumerate(zip(shape, after[blob], strict=True)) if pair[0] != pair[1])
        for blob, shape in before.items()
    }


def _assemble(
    net: Net,
    program: Program,
    names: Mapping[Blob, str],
    shapes: Mapping[Blob, Shape],
    open_axes: Mapping[Blob, frozenset[int]],
    blobs: Sequence[str],
) -> Any:
    onnx = program.onnx
    read = {name for node in program.nodes for name in node.input}
    first = [
        top for node, layer in net.steps if isinstance(layer, SourceLayer) for top in node.tops if names[top] in read
    ]
    last = {top.name: top for node in net.graph.nodes for top in node.tops}
    made = {name for node in program.nodes for name in node.output}

    def declare(blob: Blob, name: str = "") -> Any:
        open_sizes: dict[int, Any] = {axis: None if axis else BATCH for axis in open_axes.get(blob, frozenset())}
        open_sizes.update((axis, None) for axis in program.counted.get(names[blob], ()))
        sizes = [open_sizes.get(axis, size) for axis, size in enumerate(shapes[blob])]
        return onnx.helper.make_tensor_value_info(name or names[blob], onnx.TensorProto.FLOAT, sizes)

    shown = {name: name if last[name] in net.hazards.final else names[last[name]] for name in blobs}
    outputs = [declare(last[name], shown[name]) for name in blobs if shown[name] in made]
    if not outputs:
        raise GraphError(f"net '{net.graph.name}' has no output that a layer computes; there is nothing to export")
    constants = [constant for constant in program.constants if constant.name in read]
    graph = onnx.helper.make_graph(
        program.nodes, net.graph.name or "net", [declare(top) for top in first], outputs, constants
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="caffe_compat")
    onnx.checker.check_model(model)
    return model
