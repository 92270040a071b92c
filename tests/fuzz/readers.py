"""Every reader of files from outside, as a function of bytes: it returns, or raises what `allowed` lets pass."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from caffe_compat.data.datum import parse_alike, parse_datum
from caffe_compat.errors import CaffeCompatError
from caffe_compat.proto import binary, hdf5, schema
from caffe_compat.proto.text import format_text, parse_text
from tests.conftest import golden

FORMATS = golden("formats")
RESUME = golden("resume")


def allowed(reader: str, error: Exception) -> bool:
    """Whether `error` is the one clear line that a reader owes to bad input: a datum's caller adds the place."""
    return isinstance(error, CaffeCompatError) or (reader == "datum" and isinstance(error, ValueError))


def text(data: bytes) -> None:
    """A prototxt, first byte telling net or solver; what is read is printed and read again to the same message."""
    kind = schema.SolverParameter if data[:1] == b"s" else schema.NetParameter
    message = parse_text(data[1:].decode("utf-8", "surrogateescape"), kind, "fuzz.prototxt")
    again = parse_text(format_text(message), kind, "again.prototxt")
    assert again.SerializePartialToString() == message.SerializePartialToString()


def caffemodel(data: bytes) -> None:
    """A .caffemodel; what is read can be written and read again."""
    path = _file(data)
    net, weights = binary.read_net(path)
    names = [layer.name for layer in net.layer]
    if len(set(names)) == len(names):
        binary.write_net(path, net, weights)
        binary.read_net(path)


def solverstate(data: bytes) -> None:
    binary.read_solver_state(_file(data))


def binaryproto(data: bytes) -> None:
    binary.read_blob(_file(data))


def hdf5_weights(data: bytes) -> None:
    hdf5.read_weights(_file(data))


def hdf5_state(data: bytes) -> None:
    hdf5.read_solver_state(_file(data))


def datum(data: bytes) -> None:
    """A record of a database, alone and as a batch of two."""
    parse_alike([data, data])
    found = parse_datum(data)
    if not found.encoded:
        found.array()


def _file(data: bytes) -> Path:
    """A file with `data`, one a process, in memory where the system has a place for that."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    path = Path(folder, f"caffe_compat_fuzz_{os.getpid()}")
    path.write_bytes(data)
    return path


READERS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (text, caffemodel, solverstate, binaryproto, hdf5_weights, hdf5_state, datum)
}


def seeds(reader: str) -> list[bytes]:
    """Whole, valid inputs to begin from: files of real Caffe."""
    places = {
        "caffemodel": [FORMATS.rglob("*.caffemodel"), RESUME.rglob("*.caffemodel")],
        "solverstate": [RESUME.rglob("*.solverstate")],
        "binaryproto": [FORMATS.rglob("*.binaryproto")],
        "hdf5_weights": [FORMATS.rglob("*.caffemodel.h5")],
        "hdf5_state": [RESUME.rglob("*.solverstate.h5")],
        "text": [FORMATS.rglob("*.prototxt")],
    }
    if reader == "datum":
        return [
            bytes.fromhex("080110021802220401020304280a"),
            bytes.fromhex("08011001180135000080403001 3a04 00008040".replace(" ", "")),
            bytes.fromhex("2204ffd8ffe0280138 01".replace(" ", "")),
        ]
    if reader == "hdf5_weights":
        return [*_small_weights(), *(path.read_bytes() for place in places[reader] for path in place)]
    found = sorted(path for place in places[reader] for path in place)
    prefix = b"n" if reader == "text" else b""
    return [(b"s" if "solver" in path.name else prefix) * bool(prefix) + path.read_bytes() for path in found]


def _small_weights() -> Iterator[bytes]:
    """Weights files of few bytes: of the oldest and the newest layout, in one piece and deflated in chunks."""
    for layout in ("earliest", "latest"):
        for options in ({}, {"compression": "gzip", "chunks": (4,)}):
            path = _file(b"")
            with h5py.File(path, "w", libver=layout) as file:
                group = file.create_group("data/ip")
                group.create_dataset("0", data=np.arange(6, dtype=np.float32), **options)
                group.create_dataset("1", data=np.arange(2, dtype=np.float64))
            yield path.read_bytes()
