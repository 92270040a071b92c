"""Caffe -> torch.export: the net as one program of torch's own operators, in a file that needs nothing of Caffe."""

from __future__ import annotations

import io
import json
import logging
import os
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from caffe_compat.errors import DataError, GraphError, UnsupportedLayerError
from caffe_compat.export.closeness import check_outputs, detections_of
from caffe_compat.export.ending import ending_at, shapes_left, with_outputs
from caffe_compat.export.pixels import pixels_of
from caffe_compat.graph.graph import build_graph
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.progress import doing
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.model import Model, ModelLike, as_model

TOLERANCE = 1e-5  # of the largest value of an output
OPEN_BATCHES = (1, 3)  # items in the runs that check a file whose batch is open


class _Outputs(nn.Module):
    """A net's program: blobs by name, without the loss, for inputs in the net's order."""

    def __init__(self, net: Net, names: Sequence[str]) -> None:
        super().__init__()
        own = list(names) == list(net.output_names)
        self.program = net.graph_module if own else net.program(frozenset(net.input_names), names)

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        blobs: dict[str, Tensor] = self.program(*inputs)[0]
        return blobs


def to_exported_program(
    model: ModelLike,
    input_shapes: Mapping[str, Shape] | None = None,
    dynamic_batch: bool = False,
    compat: str = "bvlc",
    outputs: Sequence[str] = (),
) -> torch.export.ExportedProgram:
    """The TEST net of `model` by torch.export: it takes the inputs in the net's order, float32, and gives {output: ..}.

    input_shapes: {blob: shape} in place of those that the net declares. dynamic_batch: the first axis of the inputs
    that have one of the size of the first input's may have any size from 1 on, the same for all. outputs: blobs to
    end at in place of the net's outputs; layers that they do not need are left out. Labels are no longer checked for
    their range. Raises UnsupportedLayerError where torch.export cannot follow a layer, GraphError for a blob of
    `outputs` that no layer makes.
    """
    whole = as_model(model)
    model = ending_at(whole, outputs)
    net = Net(model, "TEST", compat=compat, input_shapes=shapes_left(whole, model, input_shapes)).eval()
    draws = [
        layer.name for _, layer in net.steps if layer.param.type == "Dropout" and layer.draws and layer.dropout_ratio
    ]
    if draws:
        raise UnsupportedLayerError(
            f"net '{net.graph.name}': layer '{draws[0]}' (Dropout): sample_weights_test makes it draw at random in "
            "TEST too; --output BLOB,... ends the net before it"
        )
    if not net.input_names:
        raise GraphError(f"net '{net.graph.name}' has no input; there is nothing to export")
    batch = torch.export.Dim("batch") if dynamic_batch else None
    shapes = [net.shapes[name] for name in net.input_names]
    first = next((shape[:1] for shape in shapes if shape), None) if dynamic_batch else None
    inputs = tuple(torch.zeros(_not_one(shape, shape[:1] == first)) for shape in shapes)
    sizes: list[dict[int, Any]] = [{0: batch} if shape[:1] == first else {} for shape in shapes]
    open_sizes = {"inputs": tuple(sizes)} if batch else None
    try:
        with doing("torch.export follows the net"), torch.no_grad(), _quiet():
            program = _Outputs(net, tuple(outputs) or net.output_names)
            return torch.export.export(program, inputs, dynamic_shapes=open_sizes, strict=False)
    except Exception as error:  # torch.export has no exception of its own for what it cannot follow
        why = " ".join(str(error).split("\n", 1)[0].split())
        told = _where(error, why.removesuffix("."))
        raise UnsupportedLayerError(f"net '{net.graph.name}': torch.export cannot follow {told}") from error


def _where(error: Exception, why: str) -> str:
    """`why`, behind the layer in whose forward pass `error` was raised, and how to go without that."""
    frames = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    layer = next((each for each in frames if isinstance(each, Layer)), None)
    if layer is None:
        return f"it: {why}"
    return f"layer '{layer.name}' ({layer.param.type}): {why}; --output BLOB,... ends the net before it"


def write_exported_program(
    model: ModelLike,
    path: str | os.PathLike[str],
    input_shapes: Mapping[str, Shape] | None = None,
    dynamic_batch: bool = False,
    compat: str = "bvlc",
    outputs: Sequence[str] = (),
) -> None:
    """Write `to_exported_program` of `model` to `path`, whole or not at all; torch.export.load reads it.

    Its extra file pixels.json tells what images go through before they are an input, where that is known.
    """
    model = as_model(model)
    made = to_exported_program(model, input_shapes, dynamic_batch, compat, outputs)
    told = {"pixels.json": json.dumps({blob: asdict(each) for blob, each in pixels_of(model).items()})}
    file = io.BytesIO()  # torch's writer ends the process where a disk is full
    with doing("writing the program"), _quiet():
        torch.export.save(made, file, extra_files=told)
    with write_atomically(path) as temporary:
        temporary.write_bytes(file.getbuffer())


def check_exported_program(
    path: str | os.PathLike[str],
    model: ModelLike,
    inputs: Mapping[str, np.ndarray] | None = None,
    compat: str = "bvlc",
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """Load the file and run it and `model` here; {output: largest difference over its largest value}.

    inputs: by default seeded values that the net takes, in the shapes that it was made with; where the batch is open,
    once for each of OPEN_BATCHES. The blobs that the file gives are compared, outputs of the net or not. GraphError
    where one is off by more than `tolerance`, DataError for a file that torch.export did not write.
    """
    try:
        with doing("loading the program"), _quiet():
            loaded = torch.export.load(path)
    except Exception as error:  # a zip without its parts, or no zip
        raise DataError(f"{os.fspath(path)}: torch.export did not write it: {error}") from error
    model = with_outputs(as_model(model), _names(loaded))
    if inputs is not None:
        return _check_run(path, loaded, model, inputs, compat, tolerance)
    shapes = [tuple(each.shape) for each in (loaded.example_inputs or ((), {}))[0]]
    sources = [node for node in build_graph(model.net, "TEST").nodes if not node.bottoms]
    sized = dict(zip((top.name for node in sources for top in node.tops), shapes, strict=True))
    first = next((shape[:1] for shape in shapes if shape), ())
    worst: dict[str, float] = {}
    for batch in OPEN_BATCHES if _is_open(loaded) else first:
        fed = {name: (batch, *shape[1:]) if shape[:1] == first else shape for name, shape in sized.items()}
        drawn = valid_inputs(Net(model, "TEST", compat=compat, input_shapes=fed), shapes=fed)
        for name, off in _check_run(path, loaded, model, drawn, compat, tolerance).items():
            worst[name] = max(worst.get(name, 0.0), off)
    return worst


def _is_open(program: torch.export.ExportedProgram) -> bool:
    """Whether any size of an input may change. (Sizes inside may, where a layer selects items, without that.)"""
    given = set(program.graph_signature.user_inputs)
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
    return any(not isinstance(size, int) for shape in shapes for size in shape)


def _names(program: torch.export.ExportedProgram) -> list[str]:
    """The blobs that a program gives."""
    return list(program.call_spec.out_spec.context)


def _check_run(
    path: str | os.PathLike[str],
    loaded: torch.export.ExportedProgram,
    model: Model,
    inputs: Mapping[str, np.ndarray],
    compat: str,
    tolerance: float,
) -> dict[str, float]:
    net = Net(model, "TEST", compat=compat, input_shapes={name: each.shape for name, each in inputs.items()}).eval()
    tensors = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in net.input_names}
    with torch.no_grad():
        with doing("running the program"):
            found = loaded.module()(*tensors.values())
        with doing("running the net to compare with"):
            wanted = net(**tensors) if set(found) <= set(net.output_names) else net.blobs(**tensors)
    found_arrays, wanted_arrays = ({name: each[name].numpy() for name in found} for each in (found, wanted))
    return check_outputs(path, found_arrays, wanted_arrays, tolerance, detections_of(net))


def _not_one(shape: Shape, dynamic_batch: bool) -> Shape:
    """`shape` with a batch of at least 2 where its size is to stay open: torch.export takes a size of 1 for fixed."""
    return (max(shape[0], 2), *shape[1:]) if dynamic_batch and shape else shape


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own lines, logged or printed: the error that follows says it in one."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
