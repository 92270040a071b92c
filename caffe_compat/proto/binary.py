"""Caffe's binary files: .caffemodel, .solverstate and .binaryproto; data goes between file and array in one copy."""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from caffe_compat.errors import ParseError, WeightsError
from caffe_compat.proto import dialects
from caffe_compat.proto.blobs import Memory, StoredBlob, Weights, blob_bytes, current_shape, find_blob
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.forms import BlobForm, Forms
from caffe_compat.proto.names import make_names_unique
from caffe_compat.proto.reading import open_file, unread
from caffe_compat.proto.recognition import HEAD, recognised
from caffe_compat.proto.schema import NetParameter, SolverState, is_repeated
from caffe_compat.proto.upgrade import upgrade_net
from caffe_compat.proto.wire import BYTES, VARINT, Field, Walker, delimited, tag, varint

_LAYERS, _LAYER = 2, 100  # NetParameter: the second form, the current one
_MOST_BYTES = 2**31 - 1  # what protobuf, and so Caffe, reads as one message
STATE_AS_WEIGHTS = "this is a solver's state, not weights; give its .caffemodel, or resume with --snapshot"
BLOB_AS_WEIGHTS = "this is a mean image or another blob, not a net; it is the mean_file of a transform_param"


@dataclass(frozen=True)
class _Form:
    """Where a form of layer keeps its name, its blobs, a type that is text, and a layer of the first form inside it."""

    name: int
    blobs: int
    type: int = 0
    inner: int = 0


_V0 = _Form(name=1, blobs=50)
_FORMS = {_LAYERS: _Form(name=4, blobs=6, inner=1), _LAYER: _Form(name=1, blobs=7, type=2)}


@dataclass
class Stored:
    """The bytes of a layer without its blobs, and the blobs."""

    kept: list[bytes] = field(default_factory=list)
    name: str = ""
    blobs: list[StoredBlob] = field(default_factory=list)
    waits: bool = False  # a field in it has several meanings, which the whole net decides


@dataclass(frozen=True)
class SolverStateFile:
    """A solver's state: its iteration, the path of its weights, one or two blobs a learnable parameter, its step."""

    iteration: int
    learned_net: str
    history: tuple[np.ndarray, ...]
    current_step: int = 0


def read_net(path: str | os.PathLike[str]) -> tuple[Any, Weights]:
    """The net of a .caffemodel, made current and without blobs, and its weights by layer name.

    Shapes are Caffe's of today, also where the file has the four old dimensions. Of layers of one name the last one's
    weights count, as in Caffe. Raises ParseError with the byte at which a damaged file stops making sense.
    """
    return read_net_and_forms(path)[:2]


def read_net_and_forms(path: str | os.PathLike[str], rename_duplicates: bool = False) -> tuple[Any, Weights, Forms]:
    """The net, its weights, and for `write_net` what the file says of its blobs beside shapes and values.

    With `rename_duplicates` every layer keeps its weights: the second layer 'a' becomes 'a_2'.
    """
    with opened(path) as (file, walker):
        net, stored = stored_net(walker, rename_duplicates)
        types = {layer.name: layer.type for layer in net.layer}
        weights, forms, memory = {}, {}, Memory(sum(blob.nbytes for layer in stored for blob in layer.blobs))
        for layer in stored:
            if layer.blobs:
                arrays = _read(file, walker, layer.blobs, types.get(layer.name, ""), memory)
                weights[layer.name] = arrays
                found = [blob.form(walker, array.shape) for blob, array in zip(layer.blobs, arrays, strict=True)]
                forms[layer.name] = tuple(found)
    return net, weights, {name: each for name, each in forms.items() if any(each)}


def stored_net(walker: Walker, rename_duplicates: bool = False) -> tuple[Any, list[Stored]]:
    """The net of a .caffemodel, made current and without blobs, and where the blobs of each stored layer lie."""
    net = NetParameter()
    stored, undecided = list[Stored](), False
    for part in walker.fields(0, len(walker.data)):
        if part.number in _FORMS and part.wire == BYTES:
            layer = _layer(walker, part, _FORMS[part.number])
            stored.append(layer)
            kept = b"".join(layer.kept)
            _merge(walker, part, net, delimited(part.number, kept), kept.isascii())
        elif part.number == 1 and part.wire == VARINT:
            end = len(walker.data)
            is_blob = part.end < end and walker.field(part.end, end).wire == VARINT  # num, then channels
            raise ParseError(f"{walker.path}: {BLOB_AS_WEIGHTS if is_blob else STATE_AS_WEIGHTS}")
        else:
            changed, waits = dialects.read_net_field(walker, part)
            undecided = undecided or waits
            _merge(walker, part, net, walker.data[part.tag : part.end] if changed is None else changed)
    if undecided or any(layer.waits for layer in stored):
        dialects.settle(net)
    net = upgrade_net(net, walker.path)
    if rename_duplicates:
        for layers in (net.layer, stored):
            make_names_unique(layers)
    return net, stored


def write_net(
    path: str | os.PathLike[str],
    net: Any,
    weights: Mapping[str, tuple[np.ndarray, ...]] | Sequence[tuple[np.ndarray, ...]],
    forms: Mapping[str, tuple[BlobForm | None, ...]] | None = None,
) -> None:
    """Write a .caffemodel: `net` with `weights` as the blobs of its layers, whole or not at all.

    weights: by name, or those of every layer in order, for nets in which names repeat. A blob with a form in `forms` is
    written in it where it fits: half precision as such, with its diff and so on.
    Raises WeightsError where weights have no layer, or the file would be larger than Caffe can read.
    """
    if isinstance(weights, Mapping):
        unknown = sorted(set(weights) - {layer.name for layer in net.layer})
        if unknown:
            way_out = "which the net lacks; add the layer or drop them"
            raise WeightsError(f"{path}: weights for layer '{unknown[0]}', {way_out}")
        weights = [weights.get(layer.name, ()) for layer in net.layer]
    pieces = _net_bytes(net, weights, forms or {})
    size = sum(len(piece) for piece in pieces)
    if size > _MOST_BYTES:
        raise WeightsError(f"{path}: {size} bytes are more than Caffe reads from a .caffemodel; write a .caffemodel.h5")
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        file.writelines(pieces)


def read_blob(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in a .binaryproto (mean images): float32, or float64 for double_data. Raises ParseError."""
    with opened(path) as (file, walker):
        first = walker.field(0, len(walker.data))
        if first.wire == BYTES and first.number in (1, _LAYERS, _LAYER):
            raise ParseError(f"{walker.path}: this is a net, perhaps with weights, not a mean image or another blob")
        return find_blob(walker, 0, len(walker.data)).read(file, walker)


def write_blob(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write `array` as a .binaryproto, whole or not at all."""
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        file.writelines(blob_bytes(np.asarray(array)))


def read_solver_state(path: str | os.PathLike[str]) -> SolverStateFile:
    """The state in a .solverstate. Raises ParseError, also where the file is a .caffemodel."""
    with opened(path) as (file, walker):
        state, history = SolverState(), []
        for part in walker.fields(0, len(walker.data)):
            if part.number == 3 and part.wire == BYTES:
                history.append(find_blob(walker, part.start, part.end).read(file, walker))
            elif part.number == _LAYER or (part.number == 1 and part.wire != VARINT):
                raise walker.error(part.tag, "this is a net with weights, not a solver's state; give a .solverstate")
            else:
                _merge(walker, part, state, walker.data[part.tag : part.end])
    return SolverStateFile(state.iter, state.learned_net, tuple(history), state.current_step)


def write_solver_state(path: str | os.PathLike[str], state: SolverStateFile) -> None:
    """Write a .solverstate, whole or not at all."""
    head = SolverState(iter=state.iteration, learned_net=state.learned_net).SerializeToString()
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        file.write(head)
        for array in state.history:
            file.writelines(_blob_field(3, array))
        file.write(SolverState(current_step=state.current_step).SerializeToString())


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, Walker]]:
    """The file at `path` and a walker over its bytes, of which only those looked at are read."""
    try:
        with open_file(path, buffering=0) as file:
            told = recognised(file.read(HEAD))
            if told:
                raise ParseError(f"{path}: {told}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield file, Walker(data, path)
    except OSError as error:
        raise ParseError(unread(path, error)) from error


def _layer(walker: Walker, message: Field, form: _Form) -> Stored:
    """Separate a layer's blobs from the rest of its bytes, and give that our field numbers."""
    stored, parts = Stored(), walker.fields(message.start, message.end)
    layer_type = ""
    for part in parts:
        if part.number == form.name and part.wire == BYTES:
            stored.name = _text(walker, part)
        elif part.number == form.type and part.wire == BYTES:
            layer_type = _text(walker, part)
    kept_from = message.start
    for part in parts:
        changed = None
        if part.number == form.blobs and part.wire == BYTES:
            stored.blobs.append(find_blob(walker, part.start, part.end))
            changed = b""
        elif part.number == form.inner and part.wire == BYTES:
            inner = _layer(walker, part, _V0)
            stored.name, stored.blobs = inner.name, inner.blobs
            changed = delimited(form.inner, b"".join(inner.kept))
        elif form.type:
            changed, waits = dialects.read_field(walker, part, layer_type)
            stored.waits = stored.waits or waits
        if changed is not None:
            stored.kept += [walker.data[kept_from : part.tag], changed]
            kept_from = part.end
    stored.kept.append(walker.data[kept_from : message.end])
    return stored


def _text(walker: Walker, part: Field) -> str:
    try:
        return bytes(walker.data[part.start : part.end]).decode()
    except UnicodeDecodeError as error:
        raise walker.error(part.start, "a layer's name or type is not UTF-8; the file is damaged") from error


def _merge(walker: Walker, part: Field, message: Any, data: bytes, is_text: bool = False) -> None:
    """Add the field in `data` to `message`; its strings must be text, which protobuf itself does not ask of them.

    is_text: there is nothing in it that could be no text.
    """
    piece = message if is_text else type(message)()
    try:
        piece.MergeFromString(data)
    except (DecodeError, UnicodeDecodeError) as error:
        raise walker.error(part.tag, f"field {part.number} is damaged; copy or download the file again") from error
    if is_text:
        return
    bad = _undecodable(piece)
    if bad:
        raise walker.error(part.tag, f"'{bad}' is not UTF-8; the file is damaged, copy or download it again")
    message.MergeFrom(piece)


def _undecodable(message: Any) -> str:
    """The name of a string field of `message` that is not UTF-8 (protobuf then gives bytes); empty where all are."""
    for kind, value in message.ListFields():
        items = value if is_repeated(kind) else (value,)
        if kind.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            name = next(filter(None, map(_undecodable, items)), "")
            if name:
                return name
        elif kind.type == FieldDescriptor.TYPE_STRING and not all(isinstance(item, str) for item in items):
            return str(kind.name)
    return ""


def _read(
    file: BinaryIO, walker: Walker, blobs: list[StoredBlob], layer_type: str, memory: Memory
) -> tuple[np.ndarray, ...]:
    arrays = []
    for i, blob in enumerate(blobs):
        shape = current_shape(layer_type, i, blob.shape) if blob.old_shape else blob.shape
        arrays.append(blob.read(file, walker, memory).reshape(shape))
    return tuple(arrays)


def _net_bytes(
    net: Any, weights: Sequence[tuple[np.ndarray, ...]], forms: Mapping[str, tuple[BlobForm | None, ...]]
) -> list[bytes | memoryview]:
    """The bytes of `net`, the blobs of each layer put in their place between its fields."""
    data = net.SerializePartialToString()
    walker = Walker(data)
    pieces: list[bytes | memoryview] = []
    layers, forks = zip(net.layer, weights, strict=True), dialects.explaining_forks(net)
    for part in walker.fields(0, len(data)):
        if part.number != _LAYER or part.wire != BYTES:
            pieces.append(dialects.written_net_field(data[part.tag : part.end], forks))
            continue
        (layer, arrays), number = next(layers), _FORMS[_LAYER].blobs
        fields = [f for f in walker.fields(part.start, part.end) if f.number != number or not arrays]
        before = b"".join(_field_bytes(walker, f, forks) for f in fields if f.number <= number)
        behind = b"".join(_field_bytes(walker, f, forks) for f in fields if f.number > number)
        known = (*forms.get(layer.name, ()), *(None for _ in arrays))
        pairs = zip(arrays, known, strict=False)
        blobs = [piece for array, form in pairs for piece in _blob_field(number, array, form)]
        length = len(before) + sum(map(len, blobs)) + len(behind)
        pieces += [tag(_LAYER, BYTES) + varint(length) + before, *blobs, behind]
    return pieces


def _field_bytes(walker: Walker, part: Field, forks: Collection[str]) -> bytes:
    changed = dialects.written_field(walker, part, forks)
    return walker.data[part.tag : part.end] if changed is None else changed


def _blob_field(number: int, array: np.ndarray, form: BlobForm | None = None) -> list[bytes | memoryview]:
    array = np.asarray(array)
    pieces = (form and form.blob_bytes(array)) or blob_bytes(array)
    return [tag(number, BYTES) + varint(sum(map(len, pieces))), *pieces]
