"""What a net gives in another runtime beside what it gives here, output by output."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import DataError, UnsupportedLayerError
from caffe_compat.export.closeness import relative_difference
from caffe_compat.export.deploy import deploy
from caffe_compat.export.ending import blob_of, shapes_left, with_outputs
from caffe_compat.export.onnx.file import write_onnx
from caffe_compat.export.runtimes.running import RUNTIMES, SECONDS, needed_version, run_file
from caffe_compat.layers.base import Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.progress import doing
from caffe_compat.proto.files import scratch_folder
from caffe_compat.proto.model import Model, ModelLike, as_model, write_model
from caffe_compat.showing import nearest

RUNTIME_TOLERANCE = 1e-4  # of an output's largest value; both sum in float32, in other orders


def parse_road(words: str, usual: str | None = None) -> tuple[str, str]:
    """`RUNTIME` or `RUNTIME:FORM` as the two; DataError for others.

    usual: the form where none is given, if the runtime reads it.
    """
    name, _, form = words.partition(":")
    if name not in RUNTIMES:
        raise DataError(f"runtime '{name}' is not known; {nearest(name, RUNTIMES, 'there are')}")
    forms = RUNTIMES[name].forms
    if form and form not in forms:
        raise DataError(f"{RUNTIMES[name].title} reads {' and '.join(forms)}, not '{form}': give {name}:{forms[0]}")
    return name, form or (usual if usual and usual in forms else forms[0])


def check_with(
    model: ModelLike,
    runtime: str,
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
    files: Sequence[str | os.PathLike[str]] = (),
    compat: str = "bvlc",
    seconds: float = SECONDS,
) -> dict[str, float]:
    """{output: largest difference over its largest value} of the net in `runtime` ("mnn", "opencv:onnx") and here.

    files: what the runtime reads, prototxt and caffemodel or one ONNX file that were made of `model`; by default they
    are written for the occasion, of a net for training its deploy form. All outputs are compared; inf where one has
    other sizes. The runtime runs in a process of its own, for at most `seconds`. Raises DataError without the runtime,
    UnsupportedLayerError where it does not take the net.
    """
    name, form = parse_road(runtime)
    needed_version(name, form)
    made = as_model(model)
    if not files and is_for_training(made.net):
        made = deploy(made, shapes=input_shapes, folder=folder)
    with scratch_folder() as place:
        files = files or _written(made, form, place, input_shapes, compat)
        read, ends = _graph(files[0]) if form == "onnx" else ((), ())
        whole, made = made, with_outputs(made, ends)
        shapes = shapes_left(whole, made, input_shapes)
        net = Net(made, "TEST", compat=compat, input_shapes=shapes, folder=folder).eval()
        inputs = valid_inputs(net)
        wanted = _wanted(net, inputs, ends)
        fed = {blob: values for blob, values in inputs.items() if form == "caffe" or blob in read}
        found = run_file(name, form, files, fed, outputs_of(made.net, wanted), seconds)
    lacking = ", ".join(f"'{blob}'" for blob in wanted if blob not in found)
    if lacking:
        raise UnsupportedLayerError(f"net '{made.net.name}': {RUNTIMES[name].title} gives no output {lacking}")
    return {blob: difference(found[blob], values) for blob, values in wanted.items()}


def _wanted(net: Net, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """What the net gives for the outputs that a file calls `names`, for its own where there are none."""
    blobs = {name: blob_of(name, net.shapes) for name in names}
    blobs = blobs or {name: name for name in net.output_names if name not in inputs}
    with torch.no_grad(), doing("running the net to compare with"):
        right = net(**inputs) if set(blobs.values()) <= set(net.output_names) else net.blobs(**inputs)
    return {name: right[blob].detach().numpy() for name, blob in blobs.items()}


def _graph(path: str | os.PathLike[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What the operators of an ONNX file read, for of its inputs some runtimes keep no others; its outputs."""
    onnx = importlib.import_module("onnx")
    graph = onnx.load(os.fspath(path), load_external_data=False).graph
    return [name for node in graph.node for name in node.input], [value.name for value in graph.output]


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """`relative_difference`; inf where shapes differ in more than axes of size 1."""
    sizes = [[size for size in values.shape if size != 1] for values in (found, wanted)]
    return relative_difference(found, wanted) if sizes[0] == sizes[1] else float("inf")


def outputs_of(net: Any, blobs: Iterable[str]) -> list[tuple[str, str, int]]:
    """Of each of `blobs` the layer of a NetParameter that makes it last, and the number of that layer's top."""
    makers = {top: (layer.name, number) for layer in net.layer for number, top in enumerate(layer.top)}
    return [(blob, *makers.get(blob, ("", 0))) for blob in blobs]


def is_for_training(net: Any) -> bool:
    """Whether a NetParameter reads data, measures losses or has rules for phases, which other runtimes do not."""
    sources = [layer.type for layer in net.layer if not layer.bottom]
    rules = any(layer.include or layer.exclude for layer in net.layer)
    return (
        rules
        or any(kind not in ("Input", "Parameter") for kind in sources)
        or any(layer.type in ("Accuracy", *loss_types()) for layer in net.layer)
    )


def _written(
    model: Model, form: str, place: Path, input_shapes: Mapping[str, Shape] | None, compat: str
) -> tuple[Path, ...]:
    if form == "onnx":
        write_onnx(model, place / "net.onnx", input_shapes, compat=compat)
        return (place / "net.onnx",)
    files = place / "net.prototxt", place / "net.caffemodel"
    write_model(with_shapes(model, input_shapes), *files)
    return files


def with_shapes(model: Model, input_shapes: Mapping[str, Shape] | None) -> Model:
    """`model` whose Input layers state the shapes given."""
    if not input_shapes:
        return model
    net = type(model.net)()
    net.CopyFrom(model.net)
    for layer in net.layer:
        if layer.type == "Input" and set(layer.top) & set(input_shapes):
            known = [list(shape.dim) for shape in layer.input_param.shape] or [[]]
            known = known * len(layer.top) if len(known) == 1 else known
            del layer.input_param.shape[:]
            for top, shape in zip(layer.top, known, strict=True):
                layer.input_param.shape.add(dim=input_shapes.get(top, shape))
    return replace(model, net=net)
