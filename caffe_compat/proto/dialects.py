"""Which fork of Caffe wrote a file, and field numbers that mean different things in different forks.

In a binary file a fork's field is a number, and forks took the same numbers: 147 is swish_param in Caffe 1.0,
sparsify_param in the paper's fork, roi_pooling_param in MS-CNN. A layer's type says which is meant: a layer of type
Sparsify has sparsify_param. Each such field has a number of its own in our schema (protos/README.md); here numbers are
changed to ours on reading, and back on writing. A field that nothing explains is parked at a number that no schema
has, so that it is not taken for another, and put back on writing.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

from caffe_compat.proto.schema import LayerParameter, ParamSpec, is_repeated, message_class
from caffe_compat.proto.wire import BYTES, FIXED32, VARINT, Field, Walker, delimited, tag

_PARKED = 1 << 28
_LAYER_FIELDS = LayerParameter.DESCRIPTOR.fields_by_name
_PARAM_FIELDS = ParamSpec.DESCRIPTOR.fields_by_name
_PARAM, _POOLING = _LAYER_FIELDS["param"].number, _LAYER_FIELDS["pooling_param"].number
_POOLING_13 = {"intel": "avg_include_pad", "dsod": "ceil_mode", "frcnn": "ceil_mode"}
# Caffe 1.0's numbers for the settings of one type: 100 to 148. Up to 12 every fork agrees, but for one (12).
_CAFFES = range(100, 149)
# Fields of the paper's fork and of SSL, which caffe.proto has
_FORCE = {
    "LayerParameter": {"sparsify_param": 147, "symmetric_rectify_param": 148, "display": 12},
    "ParamSpec": {"force_mult": 6, "force_regularize": 5},
}
_SSL = {
    "LayerParameter": {"connectivity_mode": 12},
    "ParamSpec": {"breadth_decay_mult": 5, "kernel_shape_decay_mult": 6, "block_group_lasso": 7, "decay_proto": 9},
    "ConvolutionParameter": {"conv_mode": 21},
}
# Layer types whose settings have another name than theirs
_TYPES = {
    "norm": "normalize", "st": "spatialtransformer", "smoothl1": "smoothl1loss", "recurrent": "lstm",
    "optransform": "opdata",
}  # fmt: skip
_WIRE = {
    FieldDescriptor.CPPTYPE_MESSAGE: BYTES, FieldDescriptor.CPPTYPE_STRING: BYTES, FieldDescriptor.CPPTYPE_BOOL: VARINT,
    FieldDescriptor.CPPTYPE_ENUM: VARINT, FieldDescriptor.CPPTYPE_INT32: VARINT, FieldDescriptor.CPPTYPE_UINT32: VARINT,
    FieldDescriptor.CPPTYPE_FLOAT: FIXED32,
}  # fmt: skip


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
    name = min((fork for fork, count in votes.items() if count == most), key=_order().index)
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
    found = [ForkField("", name, forks) for name, forks in _set_in(net, "", skip="layer")]
    for layer in net.layer:
        found += [ForkField(layer.name, name, forks) for name, forks in _set_in(layer, "", skip="blobs")]
    return found


def unknown_fields(net: Any) -> list[str]:
    """A line for each field of a binary net that neither Caffe nor any fork known here has."""
    lines = [f"net: field {number}" for number in _unknown(net)]
    for layer in net.layer:
        lines += [f"layer '{layer.name}': field {number}" for number in _unknown(layer)]
    return lines


def settle_pooling(net: Any) -> None:
    """Give field 13 of pooling, which is round_mode in Caffe 1.0, the meaning it has in the fork that wrote `net`."""
    layers = [layer for layer in net.layer if layer.pooling_param.HasField("round_mode")]
    name = _POOLING_13.get(detect(net).name, "") if layers else ""
    if not name:
        return
    for layer in layers:
        setattr(layer.pooling_param, name, bool(layer.pooling_param.round_mode))
        layer.pooling_param.ClearField("round_mode")


def read_field(walker: Walker, field: Field, layer_type: str) -> bytes | None:
    """The bytes of a layer's field under our number; None where it is right as it stands."""
    if field.number == _PARAM and field.wire == BYTES:
        return _read_param(walker, field)
    if field.number < 12 or field.number not in _contested():
        return None
    number = _our_number(walker, field, layer_type)
    return None if number == field.number else renumbered(walker, field, number)


def written_field(walker: Walker, field: Field) -> bytes | None:
    """The bytes of a layer's field under the number that its fork knows; None where it is right as it stands."""
    if field.number == _PARAM and field.wire == BYTES:
        return _rewritten(walker, field, walker.fields(field.start, field.end), _written("ParamSpec"))
    if field.number == _POOLING and field.wire == BYTES:
        return _rewritten(walker, field, walker.fields(field.start, field.end), _written("PoolingParameter"))
    number = field.number & ~_PARKED if field.number >= _PARKED else _written("LayerParameter").get(field.number)
    return None if number is None else renumbered(walker, field, number)


def renumbered(walker: Walker, field: Field, number: int) -> bytes:
    """The bytes of `field` with another number."""
    behind = field.tag + len(tag(field.number, field.wire))
    return tag(number, field.wire) + walker.data[behind : field.end]


def _our_number(walker: Walker, field: Field, layer_type: str) -> int:
    if field.number == 12:
        is_mode = field.wire == VARINT and walker.varint(field.start, field.end)[0] > 1
        return int(_LAYER_FIELDS["connectivity_mode"].number) if is_mode else 12
    fitting = [f for f in _contested()[field.number] if _WIRE.get(f.cpp_type) == field.wire]
    for candidate in fitting:
        if _is_of(candidate.name, layer_type):
            return int(candidate.number)
    if field.number in _CAFFES and field.wire == BYTES:
        return field.number
    general = [f for f in fitting if not f.name.endswith("_param")] or fitting
    return int(general[0].number) if len(general) == 1 else field.number | _PARKED


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


def _set_in(message: Any, prefix: str, skip: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and forks of each field set in `message`, or in a message inside it, that Caffe 1.0 does not have."""
    known = _forks().get(message.DESCRIPTOR.full_name.removeprefix("caffe."), {})
    for field, value in message.ListFields():
        if field.name in known:
            yield prefix + field.name, known[field.name]
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and field.name != skip:
            for item in value if is_repeated(field) else (value,):
                yield from _set_in(item, f"{prefix}{field.name}.", skip)


def _unknown(message: Any) -> Iterator[str]:
    for unknown in UnknownFieldSet(message):
        yield str(unknown.field_number & ~_PARKED)
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and field.name not in ("layer", "layers"):
            for item in value if is_repeated(field) else (value,):
                yield from (f"{field.name}.{number}" for number in _unknown(item))


@cache
def _table() -> list[dict[str, str]]:
    text = resources.files(__package__).joinpath("forks.tsv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def _numbers(row: dict[str, str]) -> dict[str, int]:
    return {fork: int(number) for fork, number in (item.split("=") for item in row["forks"].split())}


@cache
def _order() -> list[str]:
    """All forks, those first whose evidence weighs more where several explain the same."""
    forks = dict.fromkeys(fork for row in _table() for fork in _numbers(row))
    return list(dict.fromkeys(["wen2017", "ssl", "ssd", "nvidia", "intel", *forks]))


@cache
def _forks() -> dict[str, dict[str, tuple[str, ...]]]:
    """Message -> field that Caffe 1.0 does not have -> the forks that have it."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for fork, messages in (("wen2017", _FORCE), ("ssl", _SSL)):
        for message, fields in messages.items():
            found.setdefault(message, {}).update(dict.fromkeys(fields, (fork,)))
    for row in _table():
        if row["kind"] == "field":
            found.setdefault(row["message"], {})[row["name"]] = tuple(_numbers(row))
    return found


@cache
def _contested() -> dict[int, list[Any]]:
    """Number of a layer's field in some fork -> the fields of our schema that it may stand for."""
    found: dict[int, list[Any]] = {12: [_LAYER_FIELDS["display"]]}
    for name, number in _FORCE["LayerParameter"].items():
        found.setdefault(number, []).append(_LAYER_FIELDS[name])
    for row in _table():
        if row["message"] == "LayerParameter" and row["kind"] in ("field", "moved"):
            for number in _numbers(row).values():
                if _LAYER_FIELDS[row["name"]] not in found.setdefault(number, []):
                    found[number].append(_LAYER_FIELDS[row["name"]])
    return found


@cache
def _written(message: str) -> dict[int, int]:
    """Our number -> the number in the first fork that has the field, where the two differ."""
    fields = message_class(message).DESCRIPTOR.fields_by_name
    known = {**_FORCE.get(message, {}), **_SSL.get(message, {})}
    for row in _table():
        if row["message"] == message and row["kind"] == "field":
            known[row["name"]] = next(iter(_numbers(row).values()))
    return {fields[name].number: number for name, number in known.items() if fields[name].number != number}
