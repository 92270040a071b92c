"""A net as an ONNX file, and that file run by onnxruntime beside the net."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe_compat.export.closeness import check_outputs, detections_of
from caffe_compat.export.ending import blob_of, with_outputs
from caffe_compat.export.onnx.model import to_onnx
from caffe_compat.export.onnx.program import package
from caffe_compat.layers.base import Shape
from caffe_compat.net.inputs import complete_inputs, valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.progress import doing
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.model import Model, ModelLike, as_model

TOLERANCE = 1e-5  # of the largest value of an output
OPEN_BATCHES = (1, 3)  # items in the runs that check a file whose batch is open


def write_onnx(
    model: ModelLike,
    path: str | os.PathLike[str],
    input_shapes: Mapping[str, Shape] | None = None,
    dynamic_batch: bool = False,
    compat: str = "bvlc",
    outputs: Sequence[str] = (),
) -> None:
    """Write `to_onnx` of `model` to `path`, whole or not at all."""
    with doing("writing ONNX"):
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
    with doing("onnxruntime loads the file"):
        session = package("onnxruntime").InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
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
    with doing("onnxruntime runs the file"):
        found = dict(zip(outputs, session.run(outputs, read), strict=True))
    blobs = {name: blob_of(name, net.shapes) for name in outputs}
    given = complete_inputs(net, inputs)
    with doing("running the net to compare with"):
        right = net(**given) if set(blobs.values()) <= set(net.output_names) else net.blobs(**given)
    wanted = {name: right[blob].detach().numpy() for name, blob in blobs.items()}
    return check_outputs(path, found, wanted, tolerance, detections_of(net))
