"""Weights as safetensors, and back: tensors named LAYER.INDEX, and the net's prototxt in the file's metadata.

(https://huggingface.co/docs/safetensors: a header of names, types and offsets, then the bytes.)
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_compat.errors import DataError, ParseError
from caffe_compat.proto.blobs import Weights
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.reading import check_regular, open_file, parse_json, unread
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import format_text, parse_text
from caffe_compat.proto.upgrade import upgrade_net

SUFFIX = ".safetensors"
_NET = "prototxt"  # the metadata that has the net
_MOST_HEADER = 100_000_000  # bytes, as in the library
# The format's types in words, and as NumPy stores them; of those that NumPy lacks, their bytes
_TYPES = {
    "BOOL": ("bool", "?"), "U8": ("uint8", "u1"), "I8": ("int8", "i1"), "U16": ("uint16", "<u2"),
    "I16": ("int16", "<i2"), "U32": ("uint32", "<u4"), "I32": ("int32", "<i4"), "U64": ("uint64", "<u8"),
    "I64": ("int64", "<i8"), "F16": ("float16", "<f2"), "F32": ("float32", "<f4"), "F64": ("float64", "<f8"),
    "BF16": ("bfloat16", "V2"), "F8_E4M3": ("float8_e4m3", "V1"), "F8_E5M2": ("float8_e5m2", "V1"),
    "C64": ("complex64", "<c8"),
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its name, shape, type in words and as stored, and where its values begin."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: np.dtype[Any]
    offset: int

    def read(self, path: str | os.PathLike[str]) -> np.ndarray | None:
        """The values, mapped from the file, or None where NumPy has no such numbers; bfloat16 as float32."""
        if (self.stored.kind == "V" and self.dtype != "bfloat16") or self.stored.kind == "c":
            return None
        stored = np.dtype("<u2") if self.dtype == "bfloat16" else self.stored
        count = math.prod(self.shape)
        values = np.memmap(path, stored, "r", self.offset, (count,)) if count else np.empty(0, stored)
        if self.dtype == "bfloat16":
            values = (values.astype("<u4") << 16).view("<f4")
        return values.reshape(self.shape)


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so is of this format: the length of the header, then JSON."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _MOST_HEADER


def stored_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], list[StoredTensor]]:
    """The metadata and the tensors of a file in the order of their values, of which none is read; without the package.

    ParseError for a damaged file.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, _MOST_HEADER, size))
    except OSError as error:
        raise ParseError(unread(path, error)) from error
    if len(header) < length:
        raise ParseError(f"{path}: is cut short: {size} bytes, its header alone has {length}; copy it again")
    try:
        fields = parse_json(header)
        metadata = {str(key): str(value) for key, value in fields.pop("__metadata__", {}).items()}
        found = [_tensor(name, field, 8 + length, size) for name, field in fields.items()]
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ParseError(f"{path}: cannot be read as safetensors: {error or 'its header is damaged'}") from error
    return metadata, sorted(found, key=lambda tensor: tensor.offset)


def _tensor(name: str, field: dict[str, Any], start: int, size: int) -> StoredTensor:
    """A tensor of the header. ValueError where its place and shape disagree, or lie beyond the end."""
    kind, shape, (first, end) = field["dtype"], tuple(field["shape"]), field["data_offsets"]
    if kind not in _TYPES:
        raise ValueError(f"tensor '{name}' is of the unknown type {kind}")
    if not all(type(value) is int and value >= 0 for value in (*shape, first, end)):
        raise ValueError(f"tensor '{name}' has a shape or place that is no row of whole numbers")
    stored = np.dtype(_TYPES[kind][1])
    if end - first != math.prod(shape) * stored.itemsize:
        raise ValueError(f"tensor '{name}' of shape {shape} has {end - first} bytes")
    if start + end > size:
        raise ValueError(f"tensor '{name}' ends beyond the file, at byte {start + end} of {size}; copy it again")
    return StoredTensor(name, shape, _TYPES[kind][0], stored, start + first)


def blob_of(name: str) -> tuple[str, int] | None:
    """The layer and number in a name LAYER.INDEX; None for any other name."""
    layer, _, index = name.rpartition(".")
    return (layer, int(index)) if layer and index.isascii() and index.isdigit() and len(index) < 10 else None


def net_in(metadata: dict[str, str], path: str | os.PathLike[str]) -> Any:
    """The net in a file's metadata, made current; None where there is none. Raises ParseError."""
    text = metadata.get(_NET)
    return upgrade_net(parse_text(text, NetParameter, f"{path}: prototxt"), os.fspath(path)) if text else None


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
            metadata = file.metadata() or {}
        tensors = package.load_file(os.fspath(path))
    except Exception as error:  # the library's own errors have no common base, and numpy lacks some types
        raise ParseError(f"{path}: cannot be read as safetensors: {error}") from error
    net = net_in(metadata, path)
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, tensor in tensors.items():
        place = blob_of(name)
        if place is None or tensor.dtype.kind != "f":
            raise ParseError(f"{path}: tensor '{name}' is no blob of a layer; wanted names such as conv1.0, and floats")
        blob = tensor if tensor.dtype == np.float64 else tensor.astype(np.float32)
        found.setdefault(place[0], {})[place[1]] = blob
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
