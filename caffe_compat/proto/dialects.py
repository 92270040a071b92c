"""Which fork of Caffe wrote a file, and field numbers that mean different things in different forks.

In a binary file a fork's field is a number, and forks took the same numbers: 147 is swish_param in Caffe 1.0,
sparsify_param in the paper's fork, roi_pooling_param in MS-CNN. A layer's type says which is meant: a layer of type
Sparsify has sparsify_param. Each such field has a number of its own in our schema (protos/README.md); here numbers are
changed to ours on reading, and back on writing. A field that nothing explains is parked at a number that no schema
has, so that it is not taken for another, and put back on writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

from caffe_compat.proto import collisions
from caffe_compat.proto.collisions import PARKED, WIRE, renumbered
from caffe_compat.proto.forks import FORCE, SSL, added_fields, numbers, order, table
from caffe_compat.proto.schema import LayerParameter, ParamSpec, is_repeated, message_class
from caffe_compat.proto.wire import BYTES, FIXED32, VARINT, Field, Walker, delimited

_LAYER_FIELDS = LayerParameter.DESCRIPTOR.fields_by_name
_PARAM_FIELDS = ParamSpec.DESCRIPTOR.fields_by_name
_PARAM = _LAYER_FIELDS["param"].number
# Caffe 1.0's numbers for the settings of one type: 100 to 148. Up to 12 every fork agrees, but for one (12).
_CAFFES = range(100, 149)
# Layer types whose settings have another name than theirs
_TYPES = {
    "norm": "normalize", "st": "spatialtransformer", "smoothl1": "smoothl1loss", "recurrent": "lstm",
    "optransform": "opdata", "priorbox": "priorboxclustered",
}  # fmt: skip

# IncReg's prune_param stands where Caffe 1.0 has clip_param, in the layers that it prunes; its fields and wire types
_INCREG, _INCREG_LAYERS = 148, ("Convolution", "InnerProduct")
_INCREG_FIELDS = {(1, FIXED32), (2, VARINT), (3, FIXED32)}


@dataclass(frozen=True)
class Dialect:
    """The fork that explains most of what a net has beyond Caffe 1.0, and what that is; bvlc where there is nothing."""

    name: str
    evidence: tuple[str, ...]


class ForkField(NamedTuple):
    """A field that Caffe 1.0 does not have: the layer it is set in, its name, and the forks that have it."""

    layer: str
    field: str
    forks: tuple[str, ...]


def detect(net: Any) -> Dialect:
    """Which fork `net` is written for, by the fields it sets."""
    found = fork_fields(net)
    votes = Counter(fork for use in found for fork in use.forks)
    if not votes:
        return Dialect("bvlc", ())
    most = max(votes.values())
    name = min((fork for fork, count in votes.items() if count == most), key=order().index)
    return Dialect(name, tuple(f"layer '{use.layer}': {use.field}" if use.layer else use.field for use in found))


_SMOOTHING = "loss_param.label_smoothing"
FACEBOXES_SIZES = (32, 64, 128)  # the min_size of a PriorBox that FaceBoxes alone places densely


def disputed(net: Any) -> str:
    """The fork of a net whose layers forks compute differently under one name; empty where nothing tells.

    "faceboxes" for PriorBox where one has FaceBoxes' dense sizes; "intel" or "nvidia" for label_smoothing where more
    other fields are of the one than of the other.
    """
    if any(
        layer.type == "PriorBox" and tuple(layer.prior_box_param.min_size) == FACEBOXES_SIZES for layer in net.layer
    ):
        return "faceboxes"
    if not any(layer.loss_param.label_smoothing for layer in net.layer):
        return ""
    votes = Counter(fork for use in fork_fields(net) if use.field != _SMOOTHING for fork in use.forks)
    if votes["intel"] == votes["nvidia"]:
        return ""
    return "intel" if votes["intel"] > votes["nvidia"] else "nvidia"


def fork_fields(net: Any) -> list[ForkField]:
    """Every field set in `net` that only forks have."""
    return [use for use, _ in _uses(net)]


def unknown_fields(net: Any) -> list[str]:
    """A line for each field of a binary net that neither Caffe nor any fork known here has."""
    lines = [f"net: field {number}" for number in _unknown(net)]
    for layer in net.layer:
        lines += [f"layer '{layer.name}': field {number}" for number in _unknown(layer)]
    return lines


def undecided_fields(net: Any) -> list[str]:
    """A line for each field of a binary net that forks use for several things, where nothing tells for which."""
    return list(collisions.undecided(net))


def settle(net: Any) -> None:
    """Give the parked fields inside the messages of `net` the meaning they have in the fork that wrote it."""
    collisions.settle(net, _votes(net))


def explaining_forks(net: Any) -> frozenset[str]:
    """The forks that explain most of what `net` has beyond Caffe 1.0, fields of several meanings aside."""
    return collisions.leaders(_votes(net))


def read_net_field(walker: Walker, field: Field) -> tuple[bytes | None, bool]:
    """As `read_field` for a field of the net itself."""
    return collisions.read_message(walker, field.tag, field.end, "NetParameter")


def read_field(walker: Walker, field: Field, layer_type: str) -> tuple[bytes | None, bool]:
    """The bytes of a layer's field under our number, and whether one inside it waits for `settle`.

    None for bytes that are right as they stand.
    """
    if field.number == _PARAM and field.wire == BYTES:
        return _read_param(walker, field), False
    contested = field.number >= 12 and field.number in _contested()
    number = _our_number(walker, field, layer_type) if contested else field.number
    if field.wire == BYTES and number in _settings():
        inner, waits = collisions.read_message(walker, field.start, field.end, _settings()[number])
        if inner is not None:
            return delimited(number, inner), waits
    return (None if number == field.number else renumbered(walker, field, number)), False


def written_field(walker: Walker, field: Field, forks: Collection[str]) -> bytes | None:
    """The bytes of a layer's field under the number that its fork knows; None where it is right as it stands.

    forks: those that explain the net.
    """
    if field.number == _PARAM and field.wire == BYTES:
        return _rewritten(walker, field, walker.fields(field.start, field.end), _written("ParamSpec"))
    number = field.number & ~PARKED if field.number >= PARKED else _written("LayerParameter").get(field.number)
    if field.wire == BYTES and field.number in _settings():
        inner = collisions.written_message(walker.data[field.start : field.end], _settings()[field.number], forks)
        return delimited(number or field.number, inner)
    return None if number is None else renumbered(walker, field, number)


def written_net_field(data: bytes, forks: Collection[str]) -> bytes:
    """As `written_field` for `data`, a field of the net itself."""
    return collisions.written_message(data, "NetParameter", forks)


def _votes(net: Any) -> Counter[str]:
    return Counter(fork for use, is_certain in _uses(net) if is_certain for fork in use.forks)


def _uses(net: Any) -> Iterator[tuple[ForkField, bool]]:
    """Every field set in `net` that only forks have, and whether its number and wire type alone tell it."""
    for name, forks, is_certain in _set_in(net, "", skip="layer"):
        yield ForkField("", name, forks), is_certain
    for layer in net.layer:
        for name, forks, is_certain in _set_in(layer, "", skip="blobs"):
            yield ForkField(layer.name, name, forks), is_certain


def _our_number(walker: Walker, field: Field, layer_type: str) -> int:
    if field.number == 12:
        is_mode = field.wire == VARINT and walker.varint(field.start, field.end)[0] > 1
        return int(_LAYER_FIELDS["connectivity_mode"].number) if is_mode else 12
    if field.number == _INCREG and field.wire == BYTES and layer_type in _INCREG_LAYERS:
        inside = {(part.number, part.wire) for part in walker.fields(field.start, field.end)}
        return int(_LAYER_FIELDS["prune_param"].number) if inside <= _INCREG_FIELDS else field.number
    fitting = [f for f in _contested()[field.number] if WIRE.get(f.cpp_type) == field.wire]
    for candidate in fitting:
        if _is_of(candidate.name, layer_type):
            return int(candidate.number)
    if field.number in _CAFFES and field.wire == BYTES:
        return field.number
    general = [f for f in fitting if not f.name.endswith("_param")] or fitting
    return int(general[0].number) if len(general) == 1 else field.number | PARKED


def _is_of(name: str, layer_type: str) -> bool:
    """Whether the field `name` has the settings of `layer_type`: prior_box_param those of PriorBox."""
    stem = name.removesuffix("_param").replace("_", "")
    return layer_type.lower() in (stem, _TYPES.get(stem))


def _read_param(walker: Walker, field: Field) -> bytes | None:
    """A ParamSpec of the SSL fork, whose multipliers stand where the paper's fork has others."""
    parts = walker.fields(field.start, field.end)
    if not any((part.number == 5 and part.wire == FIXED32) or part.number in (7, 8, 9) for part in parts):
        return None
    ours = {5: _PARAM_FIELDS["breadth_decay_mult"].number, 6: _PARAM_FIELDS["kernel_shape_decay_mult"].number}
    return _rewritten(walker, field, [part for part in parts if part.wire == FIXED32], ours)


def _rewritten(walker: Walker, field: Field, parts: list[Field], numbers: dict[int, int]) -> bytes | None:
    """The bytes of a message whose `parts` take other numbers; None where none does."""
    changed = {part: numbers[part.number] for part in parts if part.number in numbers}
    if not changed:
        return None
    inner = walker.fields(field.start, field.end)
    return delimited(field.number, b"".join(renumbered(walker, part, changed.get(part, part.number)) for part in inner))


def _set_in(message: Any, prefix: str, skip: str) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Name, forks and certainty of each field set in `message`, or inside it, that Caffe 1.0 does not have."""
    kind = message.DESCRIPTOR.full_name.removeprefix("caffe.")
    known = added_fields().get(kind, {})
    for field, value in message.ListFields():
        if field.name in known:
            yield prefix + field.name, tuple(known[field.name]), collisions.is_certain(kind, field.name)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and field.name != skip:
            for item in value if is_repeated(field) else (value,):
                yield from _set_in(item, f"{prefix}{field.name}.", skip)


def _unknown(message: Any) -> Iterator[str]:
    name = message.DESCRIPTOR.full_name.removeprefix("caffe.")
    for unknown in UnknownFieldSet(message):
        if not collisions.is_undecided(name, unknown):
            yield str(unknown.field_number & ~PARKED)
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and field.name not in ("layer", "layers"):
            for item in value if is_repeated(field) else (value,):
                yield from (f"{field.name}.{number}" for number in _unknown(item))


@cache
def _settings() -> dict[int, str]:
    """Number of a layer's field of ours -> its message, of those inside which numbers may not be ours."""
    found = {field.number: collisions.message_name(field) for field in _LAYER_FIELDS.values()}
    return {number: name for number, name in found.items() if collisions.is_touched(name)}


@cache
def _contested() -> dict[int, list[Any]]:
    """Number of a layer's field in some fork -> the fields of our schema that it may stand for."""
    found: dict[int, list[Any]] = {12: [_LAYER_FIELDS["display"]]}
    for name, number in FORCE["LayerParameter"].items():
        found.setdefault(number, []).append(_LAYER_FIELDS[name])
    for row in table():
        if row["message"] == "LayerParameter" and row["kind"] in ("field", "moved"):
            for number in numbers(row).values():
                if _LAYER_FIELDS[row["name"]] not in found.setdefault(number, []):
                    found[number].append(_LAYER_FIELDS[row["name"]])
    return found


@cache
def _written(message: str) -> dict[int, int]:
    """Our number -> the number in the first fork that has the field, where the two differ."""
    fields = message_class(message).DESCRIPTOR.fields_by_name
    known = {**FORCE.get(message, {}), **SSL.get(message, {})}
    for row in table():
        if row["message"] == message and row["kind"] == "field":
            known[row["name"]] = next(iter(numbers(row).values()))
    return {fields[name].number: number for name, number in known.items() if fields[name].number != number}
