"""Caffe -> ONNX: one group of operators for each layer, with Caffe's windows, divisors and axes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import CaffeCompatError, DataError, GraphError, UnsupportedLayerError
from caffe_compat.export import (
    onnx_attention,
    onnx_channels,
    onnx_converted,
    onnx_detection,
    onnx_elements,
    onnx_places,
    onnx_sequences,
    onnx_windows,
)
from caffe_compat.export.closeness import check_outputs
from caffe_compat.export.ending import blob_of, ending_at, shapes_left, with_outputs
from caffe_compat.export.onnx_in_place import found_inputs, name_outputs, writer_in_place
from caffe_compat.export.onnx_program import WRITERS, Call, Inexpressible, Program
from caffe_compat.export.pixels import pixels_of
from caffe_compat.graph.graph import Blob
from caffe_compat.layers.base import Shape
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.inputs import complete_inputs, valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.net.shapes import infer_shapes, set_up_layers
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.model import Model, ModelLike, as_model

OPSET, IR_VERSION = 17, 8  # read by onnxruntime 1.13 and later
BATCH = "batch"
TOLERANCE = 1e-5  # of the largest value of an output
OPEN_BATCHES = (1, 3)  # items in the runs that check a file whose batch is open

# imported so that their writers register
_WRITERS = (
    onnx_attention, onnx_channels, onnx_converted, onnx_detection, onnx_elements, onnx_places, onnx_sequences,
    onnx_windows,
)  # fmt: skip
_OF_ANY_SIZE = frozenset({"Dropout", "Power", "Silence", "Split"})
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
    onnx = _package("onnx")
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


def write_onnx(
    model: ModelLike,
    path: str | os.PathLike[str],
    input_shapes: Mapping[str, Shape] | None = None,
    dynamic_batch: bool = False,
    compat: str = "bvlc",
    outputs: Sequence[str] = (),
) -> None:
    """Write `to_onnx` of `model` to `path`, whole or not at all."""
    made = to_onnx(model, input_shapes, dynamic_batch, compat, outputs)
    with write_atomically(path) as temporary:
        temporary.write_bytes(made.SerializeToString())


def check_onnx(
    path: str | os.PathLike[str],
    model: ModelLike,
    inputs: Mapping[str, np.ndarray] | None = None,
    compat: str = "bvlc",
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """Run the ONNX file with onnxruntime and `model` here; {output: largest difference over its largest value}.

    inputs: by default seeded values that the net takes, in the shapes that the file declares; where the batch is open,
    once for each of OPEN_BATCHES. The blobs that the file gives are compared, outputs of the net or not. GraphError
    where one is off by more than `tolerance`, DataError without onnxruntime.
    """
    session = _package("onnxruntime").InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    model = with_outputs(as_model(model), [value.name for value in session.get_outputs()])
    if inputs is not None:
        return _check_run(path, session, model, inputs, compat, tolerance)
    declared = {value.name: value.shape for value in session.get_inputs()}
    is_open = any(not isinstance(size, int) for shape in declared.values() for size in shape)
    worst: dict[str, float] = {}
    for batch in OPEN_BATCHES if is_open else (1,):
        shapes = {name: tuple(n if isinstance(n, int) else batch for n in shape) for name, shape in declared.items()}
        net = Net(model, "TEST", compat=compat, input_shapes=shapes)
        unread = {name: net.shapes[name] for name in net.input_names if name not in shapes}
        if is_open:
            unread = {name: (batch, *shape[1:]) if len(shape) > 1 else shape for name, shape in unread.items()}
        drawn = valid_inputs(net, shapes={**shapes, **unread})
        for name, error in _check_run(path, session, model, drawn, compat, tolerance).items():
            worst[name] = max(worst.get(name, 0.0), error)
    return worst


def _check_run(
    path: str | os.PathLike[str],
    session: Any,
    model: Model,
    inputs: Mapping[str, np.ndarray],
    compat: str,
    tolerance: float,
) -> dict[str, float]:
    net = Net(model, "TEST", compat=compat, input_shapes={name: each.shape for name, each in inputs.items()})
    outputs = [value.name for value in session.get_outputs()]
    read = {value.name: inputs[value.name] for value in session.get_inputs()}
    found = dict(zip(outputs, session.run(outputs, read), strict=True))
    blobs = {name: blob_of(name, net.shapes) for name in outputs}
    given = complete_inputs(net, inputs)
    right = net(**given) if set(blobs.values()) <= set(net.output_names) else net.blobs(**given)
    wanted = {name: right[blob].detach().numpy() for name, blob in blobs.items()}
    return check_outputs(path, found, wanted, tolerance)


def _write(call: Call, in_place: Callable[[Call], None] | None) -> list[str]:
    """Add the layer to the program, by `in_place` if given; what to say where that cannot be done."""
    layer = call.layer
    shown = f"layer '{layer.name}' ({layer.param.type})"
    if layer.param.type not in WRITERS:
        measures = layer.default_loss_weight or layer.param.type == "Accuracy"
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


def _package(name: str) -> Any:
    """The package `name`; DataError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError(f"ONNX needs the package {name}: pip install caffe_compat[export]") from None
