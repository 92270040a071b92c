"""What Caffe forgets on resuming, kept in a JSON file beside its solverstate: PREFIX_iter_N.solverstate.json.

Caffe's own files stay as Caffe writes them. The side-car has named sections, of which a reader takes those it knows and
keeps the others: `cursor` (the place and seed of every data layer), `random` (the generators of every rank),
`smoothed_loss`, `loss_scale`, `run` (what the command line added), `methods` (what regularizers, masks and the like
keep) and `checksums`. `checksum` ties it to one solverstate: one that was replaced, by Caffe for instance, is not
resumed with another's data cursor. Arrays of methods lie in PREFIX_iter_N.solverstate.arrays.

Version 1, which had no `run`, `methods` and `checksums`, is read too.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import SolverError
from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.proto.reading import parse_json
from caffe_compat.solver.method_state import from_json, to_json

logger = logging.getLogger(__name__)

VERSION = 2
LARGEST = 1 << 28  # bytes; one of 1000 ranks has some 4 MB
LARGEST_GENERATOR = 1 << 20  # bytes; torch's have 5 kB
START_ANEW = "data and random numbers start anew, as in Caffe"


@dataclass(frozen=True)
class Sidecar:
    """type: of the solver. checksum: of the solverstate it belongs to.

    cursor: net -> data layer -> (cursor, seed); the cursor counts the batches of all processes that train together.
    random: of each rank, device -> state of torch's generator. losses, smoothed_loss, losses_added: see SmoothedLoss.
    loss_scale: of fp16 and how long it has held, see LossScale. run: what the command line added; None in version 1.
    methods: name -> what it keeps, arrays included. checksums: of the "weights" and the "arrays", where known. others:
    the sections of a later version, by name.
    """

    type: str
    checksum: int
    cursor: dict[str, dict[str, tuple[int, int]]]
    random: list[dict[str, bytes]]
    losses: list[float]
    smoothed_loss: float
    losses_added: int
    loss_scale: tuple[float, int] | None = None
    run: dict[str, Any] | None = None
    methods: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)


def sidecar_path(state_path: Path) -> Path:
    """Where the side-car of a solverstate lies."""
    return state_path.with_name(state_path.name + ".json")


def arrays_path(state_path: Path) -> Path:
    """Where the arrays that methods keep lie."""
    return state_path.with_name(state_path.name + ".arrays")


def checksum(stored: SolverStateFile) -> int:
    """A CRC of what a solverstate holds, the same for its binary and its HDF5 form."""
    value = zlib.crc32(f"{stored.iteration} {stored.current_step}".encode())
    for blob in stored.history:
        value = zlib.crc32(np.ascontiguousarray(blob, dtype="<f4").data, value)
    return value


def file_checksum(path: Path) -> int:
    """A CRC of the bytes of a file."""
    value = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            value = zlib.crc32(piece, value)
    return value


def encode(sidecar: Sidecar) -> tuple[bytes, bytes]:
    """The side-car as it is written, and the arrays that lie beside it; those are empty where no method has any."""
    pieces: list[bytes] = []
    facts: dict[str, Any] = {**sidecar.others, "version": VERSION}
    facts |= {part.name: getattr(sidecar, part.name) for part in fields(Sidecar) if part.name != "others"}
    facts["random"] = [{device: _pack(state) for device, state in rank.items()} for rank in sidecar.random]
    facts["methods"] = to_json(sidecar.methods, pieces)
    arrays = b"".join(pieces)
    facts["checksums"] = {**sidecar.checksums, "arrays": zlib.crc32(arrays)}
    facts["checksums"]["sidecar"] = _own_checksum(facts)
    return json.dumps(facts).encode(), arrays


def decode(text: bytes, arrays: bytes) -> Sidecar:
    """What `encode` was given, or the same of version 1. ValueError says what is wrong with it."""
    try:
        return _decoded(_load(text), arrays)
    except RecursionError:
        raise ValueError("values lie in one another too deep") from None


def _decoded(facts: dict[str, Any], arrays: bytes) -> Sidecar:
    version = facts.pop("version", None)
    if not _is_int(version) or version < 1:
        raise ValueError(f"its version is {version!r}")
    if version == 1:
        return _first_version(facts)
    if {"checksums", "methods"} - facts.keys():
        raise ValueError("it has no sections 'checksums' and 'methods'")
    if facts["checksums"].get("sidecar") != _own_checksum({**facts, "version": version}):
        raise ValueError("its own checksum does not fit; it is damaged")
    known = {part.name: facts.pop(part.name) for part in fields(Sidecar) if part.name in facts}
    if known["checksums"].get("arrays") != zlib.crc32(arrays):
        raise ValueError("the .arrays file beside it is missing, damaged or of another snapshot")
    known["methods"] = from_json(known["methods"], memoryview(arrays))
    return _checked({**known, "others": facts})


def read(state_path: Path) -> Sidecar | None:
    """The side-car beside a solverstate; None, and a line in the log, where there is none.

    SolverError where it is damaged: what it kept would be lost. Of version 1, which could not know, that is a warning.
    """
    path = sidecar_path(state_path)
    if not path.is_file():
        logger.info("No %s: %s", path, START_ANEW)
        return None
    try:
        arrays = arrays_path(state_path)
        text = _read_bounded(path)
        return decode(text, arrays.read_bytes() if arrays.is_file() else b"")
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and _is_first_version(text):
            logger.warning("%s cannot be used (%s): %s", path, error, START_ANEW)
            return None
        raise SolverError(
            f"{path} cannot be used: {error}; resume from another snapshot, or remove it to resume as Caffe does: with "
            "the first data, other random numbers, and without what the command line had"
        ) from None


def _read_bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST:
        raise OSError(f"it has {size} bytes; wanted at most {LARGEST}")
    return path.read_bytes()


def _is_first_version(text: bytes) -> bool:
    try:
        return bool(_load(text).get("version") == 1)
    except ValueError:
        return False


def _load(text: bytes) -> dict[str, Any]:
    facts = parse_json(text)
    if not isinstance(facts, dict) or not isinstance(facts.get("checksums", {}), dict):
        raise ValueError("it holds no sections")
    return facts


def _own_checksum(facts: Mapping[str, Any]) -> int:
    """A CRC of all that a side-car says but this number."""
    others = {name: value for name, value in facts["checksums"].items() if name != "sidecar"}
    return zlib.crc32(json.dumps({**facts, "checksums": others}, sort_keys=True).encode())


def _first_version(facts: dict[str, Any]) -> Sidecar:
    """The side-car that version 1 wrote as `facts`."""
    if not facts.keys() >= {"sources", "generators"}:
        raise ValueError("it has no sections 'sources' and 'generators'")
    generators = [facts.pop("generators"), *facts.pop("rank_generators", [])]
    return _checked({"cursor": facts.pop("sources"), "random": generators, **facts})


def _checked(sections: dict[str, Any]) -> Sidecar:
    """The side-car with these sections; ValueError names the first that is not of the form that Sidecar says."""
    for name, fits in FORMS.items():
        if name in sections and not fits(sections[name]):
            raise ValueError(f"its section '{name}' is not of the form that it should have")
    try:
        random = [{device: _unpack(state) for device, state in rank.items()} for rank in sections["random"]]
        return Sidecar(**{**sections, "random": random})
    except (KeyError, TypeError) as error:
        raise ValueError(f"a section is missing, or one too many: {error}") from None


def _pack(state: bytes) -> str:
    return base64.b64encode(zlib.compress(state)).decode()


def _unpack(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        state = unpacker.decompress(base64.b64decode(text, validate=True), LARGEST_GENERATOR)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"the state of a random generator cannot be unpacked: {error}") from None
    if not unpacker.eof:
        raise ValueError(f"the state of a random generator is cut, or has more than {LARGEST_GENERATOR} bytes")
    return state


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (_is_int(value) and abs(value) <= sys.float_info.max)


def _is_place(value: Any) -> bool:
    return _is_int(value) and 0 <= value < 1 << 63


def _is_list(values: Any, form: Any) -> bool:
    return isinstance(values, list) and all(map(form, values))


def _are(values: Any, count: int, form: Any) -> bool:
    return _is_list(values, form) and len(values) == count


def _is_map(value: Any, form: Any) -> bool:
    return isinstance(value, dict) and all(map(form, value.values()))


FORMS: dict[str, Callable[[Any], bool]] = {
    "type": _is_word,
    "checksum": _is_int,
    "cursor": lambda nets: _is_map(nets, lambda net: _is_map(net, lambda place: _are(place, 2, _is_place))),
    "random": lambda ranks: _is_list(ranks, lambda rank: _is_map(rank, _is_word)) and len(ranks) > 0,
    "losses": lambda values: _is_list(values, _is_number),
    "smoothed_loss": _is_number,
    "losses_added": _is_place,
    "loss_scale": lambda kept: kept is None or (_are(kept, 2, _is_number) and kept[0] > 0),
    "run": lambda value: value is None or isinstance(value, dict),
    "methods": lambda value: _is_map(value, lambda state: isinstance(state, dict)),
    "checksums": lambda value: _is_map(value, _is_int),
}
