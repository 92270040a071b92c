"""A net compiled for a runtime in this process: written as ONNX, as `export --for` writes it, and run on the CPU."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.export.onnx.model import to_onnx
from caffe_compat.export.onnx.program import package
from caffe_compat.export.runtimes.rewriting import for_runtime
from caffe_compat.export.runtimes.running import RUNTIMES, needed_version
from caffe_compat.net.net import Net

Arrays = dict[str, np.ndarray]
Start = Callable[[bytes, Sequence[str]], tuple[Sequence[str], Callable[[Arrays], Sequence[np.ndarray]]]]


def refuse_absent(backend: str) -> None:
    """DataError with the pip line where the runtime, or the package onnx, is not installed."""
    needed_version(backend, "onnx")
    package("onnx")


def compiled(
    backend: str, net: Net, names: Sequence[str], values: Mapping[str, Tensor]
) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """As `net.backends.compiled`. The runtime has as many threads as torch has now, and computes in float32."""
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    model = replace(net.model(), folder=net.folder)
    computed = [name for name in names if name not in shapes]
    try:
        model = for_runtime(model, f"{backend}:onnx", shapes, net.folder)
        file = to_onnx(model, shapes, compat=net.compat, outputs=computed).SerializeToString()
        read, run = _STARTS[backend](file, computed)
    except RuntimeError as error:  # of the runtime's own, on what it does not take
        title = RUNTIMES[backend].title
        raise UnsupportedLayerError(f"net '{net.graph.name}': {title} does not take it: {error}") from error

    def outputs(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: np.ascontiguousarray(given[name].numpy(force=True), np.float32) for name in read}
        found = {name: torch.from_numpy(array) for name, array in zip(computed, run(arrays), strict=True)}
        place = next(iter(given.values())).device
        return {name: found[name].to(place) if name in found else given[name] for name in names}

    return outputs


def _openvino(file: bytes, names: Sequence[str]) -> Any:
    openvino = package("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    program = core.compile_model(core.read_model(io.BytesIO(file)), "CPU", settings)
    request = program.create_infer_request()
    known = {name: port for port in program.inputs for name in port.names}
    outputs = [program.output(name) for name in names]

    def run(arrays: Arrays) -> list[np.ndarray]:
        found = request.infer({known[name]: array for name, array in arrays.items()})
        return [np.array(found[output], np.float32) for output in outputs]

    return list(known), run


def _onnxruntime(file: bytes, names: Sequence[str]) -> Any:
    onnxruntime = package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return [each.name for each in session.get_inputs()], lambda arrays: session.run(list(names), arrays)


_STARTS: dict[str, Start] = {"openvino": _openvino, "onnxruntime": _onnxruntime}
