"""Weights as safetensors, and back: tensors named LAYER.INDEX, and the net's prototxt in the file's metadata.

(https://huggingface.co/docs/safetensors: a header of names, types and offsets, then the bytes.)
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from caffe_compat.errors import DataError, ParseError
from caffe_compat.proto.blobs import Weights
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.reading import check_regular
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import format_text, parse_text
from caffe_compat.proto.upgrade import upgrade_net

SUFFIX = ".safetensors"
_NET = "prototxt"  # the metadata that has the net


def write_safetensors(path: str | os.PathLike[str], net: Any, weights: Weights) -> None:
    """Write `weights`, and `net` beside them in the metadata, whole or not at all. DataError without the package."""
    tensors = {
        f"{layer}.{index}": np.ascontiguousarray(blob)
        for layer, blobs in weights.items()
        for index, blob in enumerate(blobs)
    }
    data = _package().save(tensors, {"format": "np", _NET: format_text(net)})
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)


def read_safetensors(path: str | os.PathLike[str]) -> tuple[Any, Weights]:
    """The net in the metadata, None where there is none, and the weights; float32 where they are of half precision.

    ParseError for a damaged file, or for tensors that are not named LAYER.INDEX.
    """
    package = _package()
    check_regular(path, ParseError)
    try:
        from safetensors import safe_open

        with safe_open(os.fspath(path), "np") as file:
            text = (file.metadata() or {}).get(_NET)
        tensors = package.load_file(os.fspath(path))
    except Exception as error:  # the library's own errors have no common base, and numpy lacks some types
        raise ParseError(f"{path}: cannot be read as safetensors: {error}") from error
    net = upgrade_net(parse_text(text, NetParameter, f"{path}: prototxt"), os.fspath(path)) if text else None
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, tensor in tensors.items():
        layer, _, index = name.rpartition(".")
        if not layer or not index.isascii() or not index.isdigit() or tensor.dtype.kind != "f":
            raise ParseError(f"{path}: tensor '{name}' is no blob of a layer; wanted names such as conv1.0, and floats")
        blob = tensor if tensor.dtype == np.float64 else tensor.astype(np.float32)
        found.setdefault(layer, {})[int(index)] = blob
    for layer, blobs in found.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise ParseError(f"{path}: layer '{layer}' has blobs {sorted(blobs)}; wanted 0 to {len(blobs) - 1}")
    weights = {layer: tuple(blobs[index] for index in range(len(blobs))) for layer, blobs in found.items()}
    return net, _in_order(weights, net)


def _in_order(weights: Weights, net: Any) -> Weights:
    """`weights` in the order of the net's layers; safetensors sorts by size and name."""
    order = [] if net is None else [layer.name for layer in net.layer if layer.name in weights]
    return {name: weights[name] for name in dict.fromkeys([*order, *weights])}


def _package() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise DataError("safetensors need the package of that name: pip install caffe_compat[export]") from None
    return safetensors.numpy
