"""Nets and weights from files, refused in Caffe's words (upgrade_proto.cpp, net.cpp)."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import CaffeCompatError, WeightsError
from caffe_compat.net.net import Net
from caffe_compat.net.weights import arrays_of, misfits, written_net
from caffe_compat.proto import binary, hdf5
from caffe_compat.proto.kinds import refuse_exchanged
from caffe_compat.proto.model import Model, Weights, read_net, read_weights
from caffe_compat.proto.schema import NetParameter
from caffe_compat.pycaffe.bindings import CheckError, check
from caffe_compat.pycaffe.checks import in_caffes_words
from caffe_compat.pycaffe.execution import Execution
from caffe_compat.pycaffe.mode import is_seeded
from caffe_compat.pycaffe.python_layer import building

_log = logging.getLogger(__name__)
PHASES = ("TRAIN", "TEST")


def check_file(path: str) -> None:
    """RuntimeError where a file cannot be opened; a folder can, as far as Caffe asks."""
    if os.path.isdir(path):
        return
    try:
        with open(path, "rb"):
            pass
    except OSError:
        raise RuntimeError(f"Could not open file {path}") from None


def build(path: str, phase: int, level: int, stages: Sequence[str], weights: str | None) -> Execution:
    """The net in a prototxt, with the weights of a file if one is given."""
    try:
        refuse_exchanged(path, weights)
        param = NetParameter() if os.path.isdir(path) else read_net(path)  # to Caffe a folder is an empty file
        param.state.level = level
        found = weights_in(weights, param) if weights is not None and not is_seeded() else {}
        if len(found) < sum(layer.name in found for layer in param.layer):
            found = {}  # of layers of one name only the first takes them; the others are to be filled
        with building():
            net = _net(param, found, PHASES[min(phase, 1)], stages, Path(path).parent)
    except CaffeCompatError as error:
        raise in_caffes_words(error) from error
    execution = Execution(net)
    if weights is not None and not net.load_report.copied:
        copy_from(execution, weights)
    return execution


def _net(param: Any, weights: Weights, phase: str, stages: Sequence[str], folder: Path) -> Net:
    """The net, with `weights` instead of what its fillers say if they fit; where they do not, filled."""
    try:
        return Net(Model(param, weights), phase, 0, stages, folder=folder)
    except WeightsError:
        return Net(param, phase, 0, stages, folder=folder)


def copy_from(execution: Execution, path: str) -> None:
    """Copy the weights of a .caffemodel or HDF5 file in by layer name; CheckError where a layer's do not fit."""
    if not os.path.isfile(path):
        raise CheckError(f"Check failed: file_hid >= 0 (-1 vs. 0) Couldn't open {path}")
    copy_weights(execution, weights_in(path, execution.net.param))


def weights_in(path: str, param: Any) -> Weights:
    """The weights in the file at `path` for the net `param`; CheckError where it cannot be parsed.

    To Caffe an empty file is a message of no fields, which gives no layer weights; a warning says so.
    """
    if os.path.isfile(path) and not os.path.getsize(path):
        _log.warning("%s: the file is empty, and gives no layer weights", path)
        return {}
    try:
        return read_weights(path, param)
    except CaffeCompatError as error:
        raise CheckError(
            "Check failed: ReadProtoFromBinaryFile(param_file, param) "
            f"Failed to parse NetParameter file: {path} ({error})"
        ) from error


def load_hdf5(execution: Execution, path: str) -> None:
    """Copy the weights of an HDF5 file in."""
    if not hdf5_file(path):
        raise CheckError(f"Check failed: file_hid >= 0 (-1 vs. 0) Couldn't open {path}")
    copy_from(execution, path)


def hdf5_file(path: str) -> bool:
    return os.path.isfile(path) and hdf5.is_hdf5(path)


def copy_weights(execution: Execution, weights: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Copy blobs in by layer name, after all were found to fit."""
    layers = execution.net.layers
    for name, blobs in weights.items():
        if name in layers and next(misfits(layers[name], [blob.shape for blob in blobs]), None):
            raise CheckError(_misfit(name, [tuple(blob.shape) for blob in blobs], layers[name].blob_shapes))
    execution.quiet.keep_weights()
    execution.net.load_weights(weights)


def _misfit(name: str, found: Sequence[tuple[int, ...]], wanted: Sequence[tuple[int, ...]]) -> str:
    if len(found) != len(wanted):
        return (
            "Check failed: target_blobs.size() == source_layer.blobs_size() "
            f"({len(wanted)} vs. {len(found)}) Incompatible number of blobs for layer {name}"
        )
    index = next(place for place, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
    source, target = (_string(shape) for shape in (found[index], wanted[index]))
    return (
        f"Cannot copy param {index} weights from layer '{name}'; shape mismatch.  Source param shape is {source}; "
        f"target param shape is {target}. To learn this layer's parameters from scratch rather than copying from "
        "a saved net, rename the layer."
    )


def _string(shape: tuple[int, ...]) -> str:
    return "".join(f"{size} " for size in shape) + f"({int(np.prod(shape))})"


def save(execution: Execution, path: str) -> None:
    """Write the net and its weights as a .caffemodel."""
    try:
        layers = [step.layer for step in execution.steps]
        net = written_net(execution.net.graph.name, layers)
        binary.write_net(path, net, [arrays_of(layer) for layer in layers])
    except CaffeCompatError as error:
        raise CheckError(f"Check failed: proto.SerializeToOstream(&output) {error}") from error


def save_hdf5(execution: Execution, path: str) -> None:
    """Write the weights as HDF5."""
    model = execution.net.model()
    try:
        hdf5.write_weights(path, model.weights, model.net)
    except CaffeCompatError as error:
        words = f"Couldn't open {path} to save weights."
        raise CheckError(f"Check failed: file_hid >= 0 (-1 vs. 0) {words} ({error})") from error


__all__ = ["PHASES", "build", "check", "check_file", "copy_from", "load_hdf5", "save", "save_hdf5"]
