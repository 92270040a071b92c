"""Caffe -> ONNX: one group of operators for each layer, with Caffe's windows, divisors and axes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe_compat.errors import DataError, GraphError, UnsupportedLayerError
from caffe_compat.export import onnx_elements, onnx_windows
from caffe_compat.export.closeness import check_outputs
from caffe_compat.export.onnx_program import WRITERS, Call, Inexpressible, Program
from caffe_compat.graph.graph import Blob
from caffe_compat.layers.base import Shape
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.net.shapes import infer_shapes
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.model import Model

OPSET, IR_VERSION = 17, 8  # read by onnxruntime 1.13 and later
BATCH = "batch"
TOLERANCE = 1e-5  # of the largest value of an output

_WRITERS = (onnx_elements, onnx_windows)  # imported so that their writers register


def to_onnx(
    model: Model, input_shapes: Mapping[str, Shape] | None = None, dynamic_batch: bool = False, compat: str = "bvlc"
) -> Any:
    """The TEST net of `model` as an onnx.ModelProto; inputs and outputs have the names of their blobs.

    (Where a layer changes an input in place, what comes of it is named input:version.)

    input_shapes: {blob: shape} in place of those that the net declares. dynamic_batch: the first axis of inputs and
    outputs may have any size. Raises UnsupportedLayerError naming every layer that ONNX cannot express, DataError
    without the package onnx.
    """
    onnx = _package("onnx")
    net = Net(model, "TEST", compat=compat, input_shapes=input_shapes)
    names = _value_names(net)
    shapes = _shapes(net)
    program, problems = Program(onnx), []
    for node, layer in net.steps:
        if isinstance(layer, SourceLayer):
            continue
        call = Call(
            program,
            layer,
            tuple(names[blob] for blob in node.bottoms),
            tuple(names[blob] for blob in node.tops),
            tuple(shapes[blob] for blob in node.bottoms),
            tuple(shapes[blob] for blob in node.tops),
        )
        problems += _write(call)
    if problems:
        raise UnsupportedLayerError(f"net '{net.graph.name}': ONNX cannot express {'; '.join(problems)}")
    return _assemble(net, program, names, shapes, dynamic_batch)


def write_onnx(
    model: Model,
    path: str | os.PathLike[str],
    input_shapes: Mapping[str, Shape] | None = None,
    dynamic_batch: bool = False,
    compat: str = "bvlc",
) -> None:
    """Write `to_onnx` of `model` to `path`, whole or not at all."""
    made = to_onnx(model, input_shapes, dynamic_batch, compat)
    with write_atomically(path) as temporary:
        temporary.write_bytes(made.SerializeToString())


def check_onnx(
    path: str | os.PathLike[str],
    model: Model,
    inputs: Mapping[str, np.ndarray] | None = None,
    compat: str = "bvlc",
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """Run the ONNX file with onnxruntime and `model` here; {output: largest difference over its largest value}.

    inputs: by default seeded values that the net takes, in the shapes that the file declares, 1 where a size is open.
    GraphError where an output is off by more than `tolerance`, DataError without onnxruntime.
    """
    session = _package("onnxruntime").InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    if inputs is None:
        declared = {value.name: value.shape for value in session.get_inputs()}
        shapes = {name: tuple(n if isinstance(n, int) else 1 for n in shape) for name, shape in declared.items()}
        inputs = valid_inputs(Net(model, "TEST", compat=compat, input_shapes=shapes), shapes=shapes)
    net = Net(model, "TEST", compat=compat, input_shapes={name: each.shape for name, each in inputs.items()})
    right = net(**inputs)
    outputs = [value.name for value in session.get_outputs()]
    found = dict(zip(outputs, session.run(outputs, dict(inputs)), strict=True))
    blobs = {name: name if name in right else name.rpartition(":")[0] for name in outputs}
    wanted = {name: right[blob].detach().numpy() for name, blob in blobs.items()}
    return check_outputs(path, found, wanted, tolerance)


def _write(call: Call) -> list[str]:
    """Add the layer to the program; what to say where that cannot be done."""
    layer = call.layer
    shown = f"layer '{layer.name}' ({layer.param.type})"
    if layer.param.type not in WRITERS:
        measures = layer.default_loss_weight or layer.param.type == "Accuracy"
        return [f"{shown}, which belongs to training; export the deploy net" if measures else shown]
    try:
        WRITERS[layer.param.type](call)
    except Inexpressible as error:
        return [f"{shown}: {error}"]
    return []


def _value_names(net: Net) -> dict[Blob, str]:
    """The name of every blob version: inputs and last versions have the blob's own, save that of a changed input."""
    tops = [(layer, top) for node, layer in net.steps for top in node.tops]
    given = {top for layer, top in tops if isinstance(layer, SourceLayer)}
    taken = {top.name for top in given}
    last = {top.name: top for _, top in tops}
    owns = given | {top for name, top in last.items() if name not in taken}
    return {top: top.name if top in owns else f"{top.name}:{top.version}" for _, top in tops}


def _shapes(net: Net) -> dict[Blob, Shape]:
    """The shape of every blob version."""
    layers = [layer for _, layer in net.steps]
    return infer_shapes(net.graph, layers, {name: net.shapes[name] for name in net.input_names})


def _assemble(
    net: Net, program: Program, names: Mapping[Blob, str], shapes: Mapping[Blob, Shape], dynamic_batch: bool
) -> Any:
    onnx = program.onnx
    read = {name for node in program.nodes for name in node.input}
    first = [
        top for node, layer in net.steps if isinstance(layer, SourceLayer) for top in node.tops if names[top] in read
    ]
    last = {top.name: top for node in net.graph.nodes for top in node.tops}
    made = {name for node in program.nodes for name in node.output}

    def declare(blob: Blob) -> Any:
        sizes = list(shapes[blob])
        open_sizes = [BATCH, *sizes[1:]] if dynamic_batch and sizes else sizes
        return onnx.helper.make_tensor_value_info(names[blob], onnx.TensorProto.FLOAT, open_sizes)

    outputs = [declare(last[name]) for name in net.output_names if names[last[name]] in made]
    if not outputs:
        raise GraphError(f"net '{net.graph.name}' has no output that a layer computes; there is nothing to export")
    graph = onnx.helper.make_graph(
        program.nodes, net.graph.name or "net", [declare(top) for top in first], outputs, program.constants
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
