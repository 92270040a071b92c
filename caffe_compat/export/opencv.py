"""A model run by OpenCV, a reader of Caffe's files that shares no code with us, beside our own net, blob by blob."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.export.closeness import relative_difference
from caffe_compat.export.deploy import deploy
from caffe_compat.export.runtimes.compare import is_for_training, outputs_of
from caffe_compat.export.runtimes.running import needed_version, run_file
from caffe_compat.layers.base import Shape
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.missing import has_blobs
from caffe_compat.net.net import Net
from caffe_compat.progress import doing, in_steps
from caffe_compat.proto.files import scratch_folder
from caffe_compat.proto.model import Model, ModelLike, as_model, write_model


def check_opencv(
    model: ModelLike, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> dict[str, float]:
    """Write the deploy form of `model`, read it with OpenCV 4 and run both on the same inputs.

    {blob: largest difference over the largest value} for every blob that OpenCV keeps. It runs in a process of its
    own. Raises DataError without OpenCV, UnsupportedLayerError for a net that it cannot read or run.
    """
    model = as_model(model)
    needed_version("opencv", "caffe")
    made = deploy(model, shapes=input_shapes, folder=folder) if is_for_training(model.net) else model
    net = Net(made, "TEST", input_shapes=input_shapes).eval()
    inputs = valid_inputs(net)
    with torch.no_grad(), doing("running the net to compare OpenCV with"):
        wanted = net.blobs(**inputs)
    with scratch_folder() as place:
        files = place / "net.prototxt", place / "net.caffemodel"
        told = told_apart(made)
        probes = _probe(told.net)
        write_model(told, *files)
        asked = {top: None for layer in told.net.layer for top in layer.top if top not in inputs}
        try:
            found = run_file("opencv", "caffe", files, inputs, outputs_of(told.net, asked))
        except UnsupportedLayerError as error:
            reason = str(error).partition(": ")[2]
            raise UnsupportedLayerError(f"net '{made.net.name}': OpenCV cannot run it: {reason}") from error
    blobs = {reader: blob for blob, reader in probes.items()}
    found = {blobs.get(name, name): values for name, values in found.items() if name not in probes}
    both = in_steps("comparing OpenCV's blobs", found.items(), lambda each: each[0])
    return {blob: relative_difference(values, wanted[blob].numpy()) for blob, values in both}


def told_apart(model: Model) -> Model:
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
