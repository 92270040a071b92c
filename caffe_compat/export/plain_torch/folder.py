"""The files of a net as plain PyTorch: model.py, weights.safetensors, blobs.npz and verify.py in one folder."""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import DataError, WriteError
from caffe_compat.export.closeness import check_outputs
from caffe_compat.export.ending import ending_at, shapes_left
from caffe_compat.export.plain_torch.program import write_program
from caffe_compat.layers.base import Shape
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.progress import doing
from caffe_compat.proto.model import ModelLike, as_model

FILES = {"model.py", "weights.safetensors", "blobs.npz", "verify.py"}
TOLERANCE = 1e-5  # of the largest value of a blob

_VERIFY = '''"""Run model.py on the inputs kept in blobs.npz and compare every blob with what Caffe's numbers are."""

import sys
from pathlib import Path

import numpy as np
import torch

import model

TOLERANCE = {tolerance}  # of the largest value of a blob


def main() -> int:
    kept = np.load(Path(__file__).with_name("blobs.npz"))
    net = model.load().eval()
    inputs = [torch.from_numpy(kept["input/" + name]) for name in model.INPUTS]
    with torch.no_grad():
        found = net.blobs(*inputs)
    worst = 0.0
    for name, values in found.items():
        wanted = kept["blob/" + name]
        error = np.abs(values.numpy() - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-30)
        worst = max(worst, float(error))
        print(f"{{name:40}} {{error:.2g}}")
    print(f"largest: {{worst:.2g}}; at most {{TOLERANCE:g}} of a blob's largest value is wanted")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
'''


def torch_source(
    model: ModelLike,
    input_shapes: Mapping[str, Shape] | None = None,
    compat: str = "bvlc",
    outputs: Sequence[str] = (),
) -> tuple[str, dict[str, np.ndarray]]:
    """The text of a module with class `Model`, an nn.Module of torch.nn alone, and its state dict.

    `Model` computes the TEST net: forward gives the output, or {name: output} where there are several; `blobs` gives
    every blob by Caffe's name. Its modules are named as the layers, as far as Python allows; Dropout and BatchNorm act
    as torch's own in training. input_shapes: {blob: shape} in place of those that the net declares. outputs:
    blobs to end at in place of the net's outputs. Raises UnsupportedLayerError naming every layer that plain PyTorch
    has no form for.
    """
    whole = as_model(model)
    model = ending_at(whole, outputs)
    net = Net(model, "TEST", compat=compat, input_shapes=shapes_left(whole, model, input_shapes))
    return write_program(net, outputs)


def write_torch_source(
    model: ModelLike,
    path: str | os.PathLike[str],
    input_shapes: Mapping[str, Shape] | None = None,
    dynamic_batch: bool = True,
    compat: str = "bvlc",
    check: bool = True,
    outputs: Sequence[str] = (),
) -> dict[str, float]:
    """Write the folder `path`, whole or not at all; {blob: largest difference over its largest value}, {} unchecked.

    dynamic_batch: the program takes any number of items where its layers do, whatever this says. outputs: as for
    `torch_source`. Raises GraphError where a blob is off by more than TOLERANCE: nothing is written then. DataError
    without the package safetensors.
    """
    whole = as_model(model)
    model = ending_at(whole, outputs)
    net = Net(model, "TEST", compat=compat, input_shapes=shapes_left(whole, model, input_shapes)).eval()
    text, state = write_program(net, outputs)
    save = _package("safetensors.numpy").save  # save_file has errors of its own, without a number, for a full disk
    inputs = valid_inputs(net)
    with torch.no_grad(), doing("running the net"):
        blobs = {name: value.detach().cpu().numpy() for name, value in net.blobs(**inputs).items()}
    path = Path(path)
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        try:
            (folder / "model.py").write_text(text, encoding="utf-8")
            (folder / "verify.py").write_text(_VERIFY.format(tolerance=TOLERANCE), encoding="utf-8")
            (folder / "weights.safetensors").write_bytes(save(state))
            kept: dict[str, Any] = {f"input/{name}": np.asarray(value, np.float32) for name, value in inputs.items()}
            kept |= {f"blob/{name}": values for name, values in blobs.items()}
            with doing("writing every blob"):
                np.savez(folder / "blobs.npz", **kept)
            errors = _compare(folder, inputs, blobs, path) if check else {}
            folder.chmod(0o777 & ~_umask())
            _put(folder, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written ({error.strerror or error})") from error
    return errors


def check_torch_source(
    path: str | os.PathLike[str],
    model: ModelLike,
    inputs: Mapping[str, np.ndarray] | None = None,
    compat: str = "bvlc",
) -> dict[str, float]:
    """Run the model.py of folder `path` and `model` here; {blob: largest difference over its largest value}.

    Every blob that both make is compared. Raises GraphError where one is off by more than TOLERANCE.
    """
    model = as_model(model)
    shapes = {name: np.asarray(value).shape for name, value in (inputs or {}).items()}
    net = Net(model, "TEST", compat=compat, input_shapes=shapes or None).eval()
    fed = dict(inputs) if inputs is not None else valid_inputs(net)
    with torch.no_grad(), doing("running the net"):
        blobs = {name: value.detach().cpu().numpy() for name, value in net.blobs(**fed).items()}
    return _compare(Path(path), fed, blobs, Path(path))


def _compare(folder: Path, inputs: Mapping[str, Any], blobs: Mapping[str, np.ndarray], shown: Path) -> dict[str, float]:
    program = runpy.run_path(str(folder / "model.py"))
    made = program["load"](folder / "weights.safetensors").eval()
    with torch.no_grad(), doing("running model.py"):
        found = made.blobs(*(torch.as_tensor(np.asarray(inputs[name], np.float32)) for name in program["INPUTS"]))
    return check_outputs(shown, {name: value.numpy() for name, value in found.items()}, blobs, TOLERANCE)


def _put(folder: Path, path: Path) -> None:
    """Move `folder` to `path`; an earlier one that stands there goes only when the new one is in its place."""
    if not path.exists():
        os.replace(folder, path)
        return
    others = sorted({file.name for file in path.iterdir()} - FILES) if path.is_dir() else [path.name]
    if others:
        raise WriteError(f"{path}: holds {others[0]}, which is not of such an export; give another folder")
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    os.replace(path, old / "old")
    os.replace(folder, path)
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise DataError(f"weights need the package {package}: pip install caffe_compat[export]") from None
