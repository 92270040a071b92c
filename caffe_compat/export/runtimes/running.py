"""A file run by another runtime, in a process of its own with a time bound."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import DataError, UnsupportedLayerError
from caffe_compat.progress import doing

SECONDS = 300.0  # for one file, loading included
_CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Runtime:
    """title: as its makers write it. module: what Python imports. distributions: packages that bring it; the first is
    named in advice. forms: what it reads, the usual one first. below: the first version that reads Caffe no more.
    """

    title: str
    module: str
    distributions: tuple[str, ...]
    forms: tuple[str, ...]
    below: int | None = None


RUNTIMES = {
    "opencv": Runtime(
        "OpenCV",
        "cv2",
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
        ("caffe", "onnx"),
        below=5,
    ),
    "mnn": Runtime("MNN", "MNN", ("MNN",), ("caffe", "onnx")),
    "openvino": Runtime("OpenVINO", "openvino", ("openvino",), ("onnx",)),
    "onnxruntime": Runtime(
        "ONNX Runtime",
        "onnxruntime",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        ("onnx",),
    ),
    "onnx.reference": Runtime("onnx.reference", "onnx", ("onnx",), ("onnx",)),
}


def installed_version(name: str) -> str | None:
    """The version of the runtime `name` that is installed, or loaded here; None where it is not."""
    module = RUNTIMES[name].module
    if module in sys.modules:
        loaded: str | None = getattr(sys.modules[module], "__version__", None)
        if loaded or sys.modules[module] is None:
            return loaded
    for distribution in RUNTIMES[name].distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def runtime_title(name: str) -> str:
    """The name of a runtime as its makers write it."""
    return RUNTIMES[name].title


def needed_version(name: str, form: str) -> str:
    """The version of the installed runtime `name`, which reads files of `form`; DataError with the pip line if not."""
    runtime, version = RUNTIMES[name], installed_version(name)
    extra = "export" if name in ("onnxruntime", "onnx.reference") else name
    wanted = f"{runtime.distributions[0]}<{runtime.below}" if runtime.below else runtime.distributions[0]
    if version is None:
        raise DataError(
            f"{runtime.title} is not installed: pip install 'caffe_compat[{extra}]' or pip install '{wanted}'"
        )
    if form == "caffe" and runtime.below and int(version.split(".")[0]) >= runtime.below:
        raise DataError(
            f"{runtime.title} {version} no longer reads Caffe's files; the check needs {runtime.title} "
            f"{runtime.below - 1}: pip install '{wanted}'"
        )
    return version


def run_file(
    name: str,
    form: str,
    files: Sequence[str | os.PathLike[str]],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[tuple[str, str, int]],
    seconds: float = SECONDS,
) -> dict[str, np.ndarray]:
    """What the runtime `name` gives for `inputs`: {blob: array}.

    files: prototxt and caffemodel, or one ONNX file. outputs: of each blob the layer that makes it, and the number of
    that layer's top. Raises DataError where the runtime is not installed, UnsupportedLayerError where it does not take
    the file: it raises, ends its process or is not done after `seconds`.
    """
    version = needed_version(name, form)
    shown = f"{RUNTIMES[name].title} {version}"
    with tempfile.TemporaryDirectory() as folder:
        places = [str(Path(file).resolve()) for file in files]
        job = {"runtime": name, "form": form, "files": places, "outputs": [list(each) for each in outputs]}
        Path(folder, "job.json").write_text(json.dumps(job), encoding="utf-8")
        kept: dict[str, Any] = {blob: np.asarray(values) for blob, values in inputs.items()}
        np.savez(Path(folder, "inputs.npz"), **kept)
        with doing(f"{shown} runs {_listed(files)}"):
            reason = _ended(folder, seconds)
        if not reason:
            reason = str(json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))["error"])
        if reason:
            raise UnsupportedLayerError(f"{shown} does not take {_listed(files)}: {reason}")
        with np.load(Path(folder, "outputs.npz")) as found:
            return dict(found)


def _ended(folder: str, seconds: float) -> str:
    """Run the child on the job in `folder`; why it left no report, empty where it did. Its process group goes too."""
    with open(Path(folder, "log"), "wb") as log:
        child = subprocess.Popen(
            [sys.executable, str(_CHILD), folder],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"not done after {seconds:g} seconds"
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if Path(folder, "report.json").exists():
        return ""
    how = f"by signal {-child.returncode}" if child.returncode < 0 else f"with status {child.returncode}"
    return f"its process ended {how}"


def _listed(files: Sequence[str | os.PathLike[str]]) -> str:
    return " and ".join(os.path.basename(os.fspath(file)) for file in files)
