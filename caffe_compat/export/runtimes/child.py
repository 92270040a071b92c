"""Run one file with one runtime: `python child.py JOB`, in a process of its own, for some runtimes end theirs.

JOB, a folder, holds job.json: {runtime, form ("caffe" or "onnx"), files, outputs: [[blob, layer, number of its top]]},
and inputs.npz. What the runtime gives goes to outputs.npz; its version, and what it raised, to report.json.
This file imports nothing of the package, so that it starts at once and the runtime has the process for itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Job = dict[str, Any]
Values = dict[str, np.ndarray]


def opencv(job: Job, inputs: Values) -> Values:
    """By the layers' names, as OpenCV finds blobs; all tops of a layer."""
    import cv2

    made = (
        cv2.dnn.readNetFromCaffe(*job["files"]) if job["form"] == "caffe" else cv2.dnn.readNetFromONNX(job["files"][0])
    )
    if job["form"] == "caffe":
        made.enableFusion(False)
    for name, values in inputs.items():
        made.setInput(values, name)
    if job["form"] == "onnx":
        names = list(made.getUnconnectedOutLayersNames())
        found = made.forward(names)
        return _by_output(job, names, found)
    known = set(made.getLayerNames())
    asked = {blob: (layer if layer in known else blob) for blob, layer, _ in job["outputs"]}
    layers = [name for name in dict.fromkeys(asked.values()) if name in known]
    tops = dict(zip(layers, made.forwardAndRetrieve(layers) if layers else [], strict=True))
    for name in set(asked.values()) - known:  # of a layer that OpenCV left out; some are found, some are not
        with contextlib.suppress(cv2.error):
            (tops[name],) = made.forwardAndRetrieve([name])
    kept = {blob: (tops.get(asked[blob], ()), number) for blob, _, number in job["outputs"]}
    return {blob: values[number] for blob, (values, number) in kept.items() if number < len(values)}


def mnn(job: Job, inputs: Values) -> Values:
    """Converted, then run by an Interpreter."""
    import _tools
    import MNN

    path = str(Path(job["folder"], "net.mnn"))
    files = (
        ["-f", "CAFFE", "--prototxt", job["files"][0], "--modelFile", job["files"][1]]
        if job["form"] == "caffe"
        else ["-f", "ONNX", "--modelFile", job["files"][0]]
    )
    _tools.mnnconvert(["mnnconvert", *files, "--MNNModel", path, "--bizCode", "net"])
    if not os.path.exists(path) or not os.path.getsize(path):
        raise RuntimeError("the converter wrote no file")
    interpreter = MNN.Interpreter(path)
    session = interpreter.createSession()
    taken = interpreter.getSessionInputAll(session)
    lacking = sorted(set(inputs) - set(taken))
    if lacking:
        raise RuntimeError(f"the converted net has no input '{lacking[0]}'")
    for name, values in inputs.items():
        interpreter.resizeTensor(taken[name], tuple(values.shape))
    interpreter.resizeSession(session)
    for name, values in inputs.items():
        kind = MNN.Tensor_DimensionType_Caffe
        given = MNN.Tensor(values.shape, MNN.Halide_Type_Float, np.ascontiguousarray(values), kind)
        taken[name].copyFrom(given)
    status = interpreter.runSession(session)
    if status:
        raise RuntimeError(f"runSession gives {status}")
    made = interpreter.getSessionOutputAll(session)
    found = {}
    for blob, layer, _ in job["outputs"]:
        tensor = made.get(blob, made.get(layer))  # what is made in place has the name of its last layer
        if tensor is None:
            raise RuntimeError(f"the converted net has no output '{blob}'")
        shape = tensor.getShape()
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), MNN.Tensor_DimensionType_Caffe)
        tensor.copyToHostTensor(host)
        found[blob] = np.array(host.getNumpyData(), np.float32).reshape(shape)
    return found


def openvino(job: Job, inputs: Values) -> Values:
    """Compiled for the CPU at full precision."""
    from openvino import Core

    core = Core()
    program = core.compile_model(core.read_model(job["files"][0]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = program(inputs)
    return {blob: np.array(found[blob]) for blob, _, _ in job["outputs"]}


def onnxruntime(job: Job, inputs: Values) -> Values:
    """On the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(job["files"][0], providers=["CPUExecutionProvider"])
    names = [blob for blob, _, _ in job["outputs"]]
    return dict(zip(names, session.run(names, inputs), strict=True))


def onnx_reference(job: Job, inputs: Values) -> Values:
    """The definition in Python that the package onnx has."""
    from onnx.reference import ReferenceEvaluator

    names = [blob for blob, _, _ in job["outputs"]]
    return dict(zip(names, ReferenceEvaluator(job["files"][0]).run(names, inputs), strict=True))


def _by_output(job: Job, names: list[str], found: Any) -> Values:
    """OpenCV's outputs of an ONNX file by blob; its order is the file's where its names are its own."""
    blobs = [blob for blob, _, _ in job["outputs"]]
    by_name = dict(zip(names, found, strict=True))
    if set(blobs) <= set(by_name):
        return {blob: by_name[blob] for blob in blobs}
    return dict(zip(blobs, found, strict=True))


RUNS: dict[str, Callable[[Job, Values], Values]] = {
    "opencv": opencv,
    "mnn": mnn,
    "openvino": openvino,
    "onnxruntime": onnxruntime,
    "onnx.reference": onnx_reference,
}


def main(folder: str) -> int:
    """0 where a report is written, also of what the runtime raised."""
    sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]  # no module of ours
    job = {**json.loads(Path(folder, "job.json").read_text(encoding="utf-8")), "folder": folder}
    with np.load(Path(folder, "inputs.npz")) as kept:
        inputs = dict(kept)
    report = {"error": ""}
    try:
        found: dict[str, Any] = dict(RUNS[job["runtime"]](job, inputs))
        np.savez(Path(folder, "outputs.npz"), **found)
    except Exception as error:
        lines = str(error).strip().splitlines()
        report["error"] = lines[0] if lines else type(error).__name__
    Path(folder, "report.json").write_text(json.dumps(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
