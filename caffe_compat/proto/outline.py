"""What is in a file of blobs, without reading their values: names, shapes, precision; statistics where asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from google.protobuf.message import DecodeError

from caffe_compat.errors import ParseError
from caffe_compat.proto import binary, dialects, tensors
from caffe_compat.proto.arrays import read_npy, read_npz
from caffe_compat.proto.blobs import StoredBlob, current_shape, find_blob
from caffe_compat.proto.hdf5_safety import Allowance, open_hdf5
from caffe_compat.proto.reading import read_head
from caffe_compat.proto.recognition import recognised
from caffe_compat.proto.schema import SolverState
from caffe_compat.proto.statistics import Statistics, measure, measure_parts
from caffe_compat.proto.wire import BYTES, VARINT, Walker

UNKNOWN = (
    "is none of the files that Caffe knows; wanted a net or solver (prototxt), weights, a solver's state, a mean "
    "(binaryproto, npy), HDF5, or a database"
)
_HDF5, _NPY, _ZIP = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"PK\x03\x04"
_FIRST = frozenset({(1, BYTES), (1, VARINT), (2, BYTES), (100, BYTES)})  # with which nets, states and blobs begin
_DIFF = frozenset({6, 9, 13})  # BlobProto: diff, double_diff, and NVIDIA's raw_diff
_DEEPEST = 32  # groups in one another
_AT_ONCE = 1 << 22  # values of a data set that are looked at together
_SHOWN = 5  # of the first values of a label


@dataclass(frozen=True)
class BlobOutline:
    """One blob: the layer (or data set) it is of, that layer's type, its place there, shape and precision.

    dtype: as the file has it, "float16" for NVIDIA's half precision. has_diff: whether the file keeps a diff too.
    """

    owner: str
    type: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    has_diff: bool = False
    statistics: Statistics | None = None


@dataclass(frozen=True)
class Outline:
    """kind: what the file is, in words. facts: what it says of itself. blobs: in its order."""

    path: Path
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    blobs: tuple[BlobOutline, ...] = ()

    @property
    def values(self) -> int:
        """How many numbers the blobs have together."""
        return sum(int(np.prod(blob.shape, dtype=np.int64)) for blob in self.blobs)


def outline(path: str | os.PathLike[str], statistics: bool = False) -> Outline:
    """What is in a .caffemodel, .solverstate, .binaryproto, the HDF5 form of these, HDF5 data, npy, npz, safetensors.

    What it is shows by its content. With `statistics` every value is read. Raises ParseError where the file is none of
    these, or damaged.
    """
    head = read_head(path)
    if not head:
        raise ParseError(f"{path}: the file is empty")
    if head.startswith(_HDF5):
        return _of_hdf5(Path(path), statistics)
    if head.startswith((_NPY, _ZIP)):
        return _of_numpy(Path(path), head.startswith(_NPY), statistics)
    if tensors.is_safetensors(head):
        return _of_safetensors(Path(path), statistics)
    with binary.opened(path) as (file, walker):
        found = _KINDS.get(_kind(walker))
        if found is not None:
            return found(Path(path), file, walker, statistics)
    raise ParseError(f"{path}: {recognised(head) or UNKNOWN}")


def _kind(walker: Walker) -> str:
    """What a binary message is, by the numbers and forms of its fields; empty where it is none of Caffe's.

    ParseError where it begins as one of Caffe's, and is cut short or damaged behind that.
    """
    seen: set[tuple[int, int]] = set()
    place = 0
    try:
        while place < len(walker.data):
            part = walker.field(place, len(walker.data))
            seen.add((part.number, part.wire))
            place = part.end
    except ParseError:
        if seen & _FIRST:
            raise
        return ""
    numbers = {number for number, _ in seen}
    if (1, VARINT) in seen and (seen & {(2, BYTES), (3, BYTES)} or numbers <= {1, 4}):
        return "state"
    if numbers & {5, 7, 8, 12} and not seen & {(1, BYTES), (2, BYTES), (100, BYTES)}:
        return "blob"
    return "net" if seen & {(1, BYTES), (2, BYTES), (100, BYTES)} else ""


def _of_net(path: Path, file: BinaryIO, walker: Walker, statistics: bool) -> Outline:
    numbers = {part.number for part in walker.fields(0, len(walker.data))}
    net, stored = binary.stored_net(walker)
    types = {layer.name: str(layer.type) for layer in net.layer}
    blobs = []
    for layer in stored:
        for index, blob in enumerate(layer.blobs):
            kind = types.get(layer.name, "")
            shape = current_shape(kind, index, blob.shape) if blob.old_shape else blob.shape
            blobs.append(_stored(layer.name, kind, index, shape, blob, file, walker, statistics))
    dialect = dialects.detect(net)
    facts = {"net": net.name, "layers": len(net.layer), "with blobs": sum(bool(layer.blobs) for layer in stored)}
    facts["form"] = "V1 or older (layers)" if 2 in numbers else "current (layer)"
    facts["dialect"] = dialect.name + (f", by {', '.join(dialect.evidence[:3])}" if dialect.evidence else "")
    return Outline(
        path, "caffemodel: a net with weights" if blobs else "a binary net without weights", facts, tuple(blobs)
    )


def _stored(
    owner: str,
    kind: str,
    index: int,
    shape: tuple[int, ...],
    blob: StoredBlob,
    file: BinaryIO,
    walker: Walker,
    statistics: bool,
) -> BlobOutline:
    dtype, has_diff = blob.dtype.name, any(number in _DIFF for number, _, _ in blob.extras)
    measured = measure(blob.read(file, walker)) if statistics else None
    return BlobOutline(owner, kind, index, tuple(shape), dtype, has_diff, measured)


def _of_state(path: Path, file: BinaryIO, walker: Walker, statistics: bool) -> Outline:
    parts = [part for part in walker.fields(0, len(walker.data)) if part.number == 3 and part.wire == BYTES]
    rest = b"".join(
        bytes(walker.data[part.tag : part.end]) for part in walker.fields(0, len(walker.data)) if part.number != 3
    )
    try:
        state = SolverState.FromString(rest)
    except DecodeError as error:
        raise ParseError(f"{path}: is damaged; copy it again") from error
    blobs = [find_blob(walker, part.start, part.end) for part in parts]
    rows = [
        _stored("history", "", index, blob.shape, blob, file, walker, statistics) for index, blob in enumerate(blobs)
    ]
    return _state(path, state.iter, state.current_step, state.learned_net, tuple(rows))


def _state(path: Path, iteration: int, step: int, learned_net: str, blobs: tuple[BlobOutline, ...]) -> Outline:
    facts = {"iteration": iteration, "current step": step, "weights": learned_net, "history blobs": len(blobs)}
    return Outline(path, "solverstate: the state of a solver", facts, blobs)


def _of_blob(path: Path, file: BinaryIO, walker: Walker, statistics: bool) -> Outline:
    blob = find_blob(walker, 0, len(walker.data))
    values = blob.read(file, walker)
    return _mean(
        path, "binaryproto: one blob, such as a mean image", _named("blob", values, blob.dtype.name), values, statistics
    )


def _named(owner: str, values: np.ndarray, dtype: str = "") -> BlobOutline:
    return BlobOutline(owner, "", 0, values.shape, dtype or values.dtype.name)


def _mean(path: Path, kind: str, blob: BlobOutline, values: np.ndarray, statistics: bool) -> Outline:
    """The outline of a single array; where it may be an image, with the mean of each channel."""
    planes = (
        values.reshape(values.shape[-3:]) if values.ndim >= 3 and values.size == np.prod(values.shape[-3:]) else None
    )
    facts = {}
    if planes is not None and 0 < len(planes) <= 4 and planes.size:
        facts["mean of each channel"] = ", ".join(f"{plane.mean(dtype=np.float64):g}" for plane in planes)
    return Outline(path, kind, facts, (replace(blob, statistics=measure(values) if statistics else None),))


def _of_numpy(path: Path, single: bool, statistics: bool) -> Outline:
    if single:
        values = read_npy(path, ParseError)
        return _mean(path, "npy: one array, such as a mean image", _named("array", values), values, statistics)
    arrays = read_npz(path, ParseError)
    if not arrays:
        told = recognised(read_head(path))
        raise ParseError(f"{path}: {UNKNOWN if not told or '.npz' in told else told}")
    blobs = [
        replace(_named(name, each), statistics=measure(each) if statistics else None) for name, each in arrays.items()
    ]
    return Outline(path, "npz: arrays by name, such as a dump of blobs", {"arrays": len(blobs)}, tuple(blobs))


def _of_safetensors(path: Path, statistics: bool) -> Outline:
    metadata, found = tensors.stored_tensors(path)
    net = tensors.net_in(metadata, path)
    places = [tensors.blob_of(each.name) for each in found]
    types = {layer.name: layer.type for layer in net.layer} if net is not None else {}
    rows = []
    for each, place in zip(found, places, strict=True):
        owner, index = place or (each.name, 0)
        values = each.read(path) if statistics else None
        measured = measure(values) if values is not None else None
        rows.append(BlobOutline(owner, types.get(owner, ""), index, each.shape, each.dtype, statistics=measured))
    order = {name: number for number, name in enumerate(types)}
    rows.sort(key=lambda row: (order.get(row.owner, len(order)), row.owner if order else "", row.index if order else 0))
    facts: dict[str, Any] = {"tensors": len(rows)}
    if net is not None:
        facts = {"net": net.name, "layers": len(net.layer), "with blobs": len({row.owner for row in rows})}
    elif metadata:
        facts["metadata"] = ", ".join(metadata)
    kind = "weights with their net" if net is not None else "weights of layers" if all(places) and places else "tensors"
    return Outline(path, f"safetensors: {kind}", facts, tuple(rows))


def _of_hdf5(path: Path, statistics: bool) -> Outline:
    with open_hdf5(path, ParseError) as file:
        sets = dict(_data_sets(file, path))
        allowance = Allowance(path)
        rows = tuple(_data_set(name, each, path, allowance, statistics) for name, each in sets.items())
        if "iter" in file and any(name.startswith("history/") for name in sets):
            blobs = tuple(row for row in rows if row.owner == "history")
            learned, step, iteration = (_scalar(file, name) for name in ("learned_net", "current_step", "iter"))
            name = learned.decode("utf-8", "replace") if isinstance(learned, bytes) else str(learned or "")
            return _state(path, int(iteration), int(step or 0), name, blobs)
        if isinstance(file.get("data"), h5py.Group):
            layers = dict.fromkeys(row.owner for row in rows)
            counts = {"layers": len(file["data"]), "with blobs": len(layers)}
            return Outline(path, "caffemodel.h5: weights, without their net", counts, rows)
        facts: dict[str, Any] = {"data sets": len(rows)}
        for name, each in sets.items():
            if each.ndim <= 1 and each.size and each.dtype.kind in "fiu":
                facts[f"first of {name}"] = ", ".join(
                    f"{value:g}" for value in np.ravel(each[:_SHOWN] if each.ndim else each[()])
                )
        return Outline(path, "HDF5: data for HDF5Data", facts, rows)


def _scalar(file: h5py.File, name: str) -> Any:
    """The first value of a small data set; None where there is none."""
    found: Any = file.get(name)
    values = np.ravel(found[()]) if isinstance(found, h5py.Dataset) and found.size == 1 else np.empty(0)
    return values[0] if len(values) else None


def _data_sets(group: h5py.Group, path: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every data set in the file by its path; links out of it are told of and not followed."""
    if depth > _DEEPEST:
        raise ParseError(f"{path}: groups lie in one another deeper than {_DEEPEST}; this is no file of Caffe's")
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            raise ParseError(f"{path}: '{prefix}{name}' leads to another file, which is not followed")
        child = group.get(name)
        if isinstance(child, h5py.Group):
            yield from _data_sets(child, path, f"{prefix}{name}/", depth + 1)
        elif isinstance(child, h5py.Dataset):
            yield f"{prefix}{name}", child


def _data_set(name: str, each: h5py.Dataset, path: Path, allowance: Allowance, statistics: bool) -> BlobOutline:
    words = name.split("/")
    numbered = len(words) > 1 and words[-1].isdigit()
    owner = "/".join(words[:-1]) if numbered else name
    has_diff = numbered and words[0] == "data" and f"diff/{'/'.join(words[1:])}" in each.file
    measured = None
    if statistics and each.dtype.kind in "fiu" and each.shape is not None:
        if problem := allowance.problem(each):
            raise ParseError(f"{path}: data set '{name}' {problem}")
        step = max(1, _AT_ONCE // max(1, each.size // max(1, len(each)))) if each.ndim else 1
        measured = (
            measure_parts(each[at : at + step] for at in range(0, len(each), step)) if each.ndim else measure(each[()])
        )
    owner = owner.removeprefix("data/") if numbered else owner
    return BlobOutline(
        owner, "", int(words[-1]) if numbered else 0, each.shape or (), each.dtype.name, has_diff, measured
    )


_KINDS: dict[str, Callable[[Path, BinaryIO, Walker, bool], Outline]] = {
    "net": _of_net, "state": _of_state, "blob": _of_blob
}  # fmt: skip
