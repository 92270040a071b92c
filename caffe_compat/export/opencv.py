"""A model run by OpenCV, a reader of Caffe's files that shares no code with us, beside our own net."""

from __future__ import annotations

import importlib
import itertools
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
from caffe_compat.net.missing import has_blobs
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model, ModelLike, as_model, write_model


def check_opencv(
    model: ModelLike, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> dict[str, float]:
    """Write the deploy form of `model`, read it with OpenCV 4 and run both on the same inputs.

    {blob: largest difference over the largest value} for every blob that OpenCV keeps. Raises DataError without
    OpenCV, UnsupportedLayerError for a net that it cannot read or run.
    """
    model = as_model(model)
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        raise DataError("the check needs OpenCV 4: pip install 'opencv-python-headless<5'") from None
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise DataError(
            f"OpenCV {cv2.__version__} no longer reads Caffe's files; the check needs OpenCV 4: "
            "pip install 'opencv-python-headless<5'"
        )
    made = deploy(model, shapes=input_shapes, folder=folder) if _is_for_training(model.net) else model
    net = Net(made, "TEST", input_shapes=input_shapes).eval()
    inputs = valid_inputs(net)
    with torch.no_grad():
        wanted = net.blobs(**inputs)
    with tempfile.TemporaryDirectory() as place:
        files = Path(place, "net.prototxt"), Path(place, "net.caffemodel")
        told_apart = _told_apart(made)
        probes = _probe(told_apart.net)
        write_model(told_apart, *files)
        try:
            found = _run(cv2, files, inputs, told_apart.net)
        except cv2.error as error:
            line = str(error).strip().splitlines()[0]
            raise UnsupportedLayerError(f"net '{made.net.name}': OpenCV cannot run it: {line}") from error
    blobs = {reader: blob for blob, reader in probes.items()}
    found = {blobs.get(name, name): values for name, values in found.items() if name not in probes}
    return {blob: relative_difference(values, wanted[blob].numpy()) for blob, values in found.items()}


def _is_for_training(net: Any) -> bool:
    """Whether a NetParameter reads data, measures losses or has rules for phases, which OpenCV does not."""
    sources = [layer.type for layer in net.layer if not layer.bottom]
    rules = any(layer.include or layer.exclude for layer in net.layer)
    return (
        rules
        or any(kind != "Input" for kind in sources)
        or any(layer.type in ("Accuracy", *loss_types()) for layer in net.layer)
    )


def _told_apart(model: Model) -> Model:
    """`model` without layers of one name, or of the name of a blob that is not theirs; most are as they were.

    OpenCV finds blobs by the names of layers, and gives a Convolution the name of its top.
    """
    net = type(model.net)()
    net.CopyFrom(model.net)
    blobs = {top for layer in net.layer for top in layer.top}
    taken = {layer.name for layer in net.layer} | blobs
    used: set[str] = set()
    weights = {}
    for layer in net.layer:
        name = layer.name
        if name in used or (name in blobs and name not in layer.top):
            layer.name = next(free for count in itertools.count(1) if (free := f"{name}_{count}") not in taken)
        if name in model.weights and has_blobs(layer):
            weights[layer.name] = model.weights[name]
        taken.add(layer.name)
        used.add(layer.name)
    return Model(net, weights)


def _probe(net: Any) -> dict[str, str]:
    """Give every blob that is the second or a later top of its last layer a reader of its own: {blob: its reader}.

    OpenCV keeps the first tops that are asked for, and reuses the memory of others.
    """
    last = {top: index for layer in net.layer for index, top in enumerate(layer.top)}
    taken = {name for layer in net.layer for name in (layer.name, *layer.top)}
    probes = {}
    for blob in (blob for blob, index in last.items() if index):
        probes[blob] = next(free for count in itertools.count(1) if (free := f"{blob}_{count}") not in taken)
        taken.add(probes[blob])
        net.layer.add(name=probes[blob], type="Power", bottom=[blob], top=[probes[blob]])
    return probes


def _run(cv2: Any, files: tuple[Path, Path], inputs: Mapping[str, np.ndarray], net: Any) -> Any:
    """{blob: array} of those blobs whose last layer OpenCV has."""
    other = cv2.dnn.readNetFromCaffe(*map(str, files))
    other.enableFusion(False)
    for name, values in inputs.items():
        other.setInput(values, name)
    known = set(other.getLayerNames())
    makers = {top: layer.name for layer in net.layer for top in layer.top if top not in inputs}
    names = {blob: maker if maker in known else blob for blob, maker in makers.items()}
    names = {blob: name for blob, name in names.items() if name in known}
    return dict(zip(names, other.forward(list(names.values())), strict=True))
