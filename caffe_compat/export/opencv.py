"""A model run by OpenCV, a reader of Caffe's files that shares no code with us, beside our own net."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import DataError, UnsupportedLayerError
from caffe_compat.export.closeness import relative_difference
from caffe_compat.export.deploy import deploy
from caffe_compat.layers.base import Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model, write_model


def check_opencv(
    model: Model, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> dict[str, float]:
    """Write the deploy form of `model`, read it with OpenCV 4 and run both on the same inputs.

    {blob: largest difference over the largest value} for every blob that OpenCV keeps. Raises DataError without
    OpenCV, UnsupportedLayerError for a net that it cannot read or run.
    """
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        raise DataError("the check needs OpenCV: pip install opencv-python-headless") from None
    made = deploy(model, shapes=input_shapes, folder=folder) if _is_for_training(model.net) else model
    net = Net(made, "TEST", input_shapes=input_shapes).eval()
    inputs = valid_inputs(net)
    with torch.no_grad():
        wanted = net.blobs(**inputs)
    makers = {top: layer.name for layer in made.net.layer for top in layer.top if top not in inputs}
    with tempfile.TemporaryDirectory() as place:
        files = Path(place, "net.prototxt"), Path(place, "net.caffemodel")
        write_model(made, *files)
        try:
            found = _run(cv2, files, inputs, makers)
        except cv2.error as error:
            line = str(error).strip().splitlines()[0]
            raise UnsupportedLayerError(f"net '{made.net.name}': OpenCV cannot run it: {line}") from error
    return {blob: relative_difference(values, wanted[blob].numpy()) for blob, values in found.items()}


def _is_for_training(net: Any) -> bool:
    """Whether a NetParameter reads data or measures losses, which OpenCV does not."""
    sources = [layer.type for layer in net.layer if not layer.bottom]
    return any(kind != "Input" for kind in sources) or any(
        layer.type in ("Accuracy", *loss_types()) for layer in net.layer
    )


def _run(cv2: Any, files: tuple[Path, Path], inputs: Mapping[str, np.ndarray], makers: Mapping[str, str]) -> Any:
    """{blob: array} of those blobs that OpenCV has under the name of their last layer or their own."""
    other = cv2.dnn.readNetFromCaffe(*map(str, files))
    other.enableFusion(False)
    for name, values in inputs.items():
        other.setInput(values, name)
    known = set(other.getLayerNames())
    names = {blob: maker if maker in known else blob for blob, maker in makers.items()}
    names = {blob: name for blob, name in names.items() if name in known}
    return dict(zip(names, other.forward(list(names.values())), strict=True))
